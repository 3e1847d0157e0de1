#include "agents/tree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STOP_ROUNDS_MAX 20
#define START_TICKS_FIELD 22

static ssize_t read_proc (pid_t pid, const char *name, char *ret_text, size_t capacity)
{
    char path[64];
    snprintf (path, sizeof path, "/proc/%d/%s", (int)pid, name);
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t size = read (fd, ret_text, capacity - 1);
    close (fd);
    if (size < 0)
        return -ESRCH;
    ret_text[size] = 0;
    return size;
}

int rota_process_read (pid_t pid, rota_process_t *ret_process)
{
    char text[1024];
    if (read_proc (pid, "stat", text, sizeof text) <= 0)
        return -ESRCH;
    /* The name in parentheses may hold anything, parentheses too: the last one counts. */
    char *at = strrchr (text, ')');
    if (!at || at[1] != ' ')
        return -ESRCH;
    at += 2;
    rota_process_t process = {.pid = pid, .state = *at};
    for (int field = 3; *at && field <= START_TICKS_FIELD; field++) {
        if (field == 4)
            process.parent = (pid_t)strtol (at, NULL, 10);
        if (field == START_TICKS_FIELD)
            process.start_ticks = strtoull (at, NULL, 10);
        at += strcspn (at, " ");
        at += *at == ' ';
    }
    *ret_process = process;
    return 0;
}

static bool is_dead (char state)
{
    return state == 'Z' || state == 'X' || state == 'x';
}

bool rota_process_lives (pid_t pid, uint64_t start_ticks)
{
    rota_process_t process;
    return rota_process_read (pid, &process) == 0 && process.start_ticks == start_ticks &&
           !is_dead (process.state);
}

static int append (rota_tree_t *self, const rota_process_t *process)
{
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 64;
        rota_process_t *list = realloc (self->list, capacity * sizeof *list);
        if (!list)
            return -ENOMEM;
        self->list = list;
        self->capacity = capacity;
    }
    self->list[self->count++] = *process;
    return 0;
}

static int read_all (rota_tree_t *all)
{
    DIR *directory = opendir ("/proc");
    if (!directory)
        return -errno;
    int status = 0;
    for (struct dirent *entry; status == 0 && (entry = readdir (directory));) {
        rota_process_t process;
        if (isdigit ((unsigned char)entry->d_name[0]) &&
            rota_process_read ((pid_t)strtol (entry->d_name, NULL, 10), &process) == 0 &&
            !is_dead (process.state))
            status = append (all, &process);
    }
    closedir (directory);
    return status;
}

static int by_parent (const void *a, const void *b)
{
    pid_t left = ((const rota_process_t *)a)->parent, right = ((const rota_process_t *)b)->parent;
    return (left > right) - (left < right);
}

/* The first of `all` (sorted by parent) whose parent is `parent`, or all->count. */
static size_t first_child (const rota_tree_t *all, pid_t parent)
{
    size_t low = 0, high = all->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all->list[middle].parent < parent)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int rota_tree_collect (rota_tree_t *self, pid_t root, bool (*wanted) (void *context, pid_t child),
                       void *context)
{
    rota_tree_t all = {0};
    self->count = 0;
    int status = read_all (&all);
    if (status < 0)
        goto end;
    if (all.count)
        qsort (all.list, all.count, sizeof *all.list, by_parent);
    for (size_t i = first_child (&all, root); i < all.count && all.list[i].parent == root && status == 0; i++)
        if (!wanted || wanted (context, all.list[i].pid))
            status = append (self, &all.list[i]);
    /* Each process is seen once in `all`, so the walk ends even if /proc changed under it; a parent that is
     * its own descendant can't be. */
    for (size_t done = 0; done < self->count && self->count <= all.count && status == 0; done++) {
        pid_t parent = self->list[done].pid;
        for (size_t i = first_child (&all, parent);
             i < all.count && all.list[i].parent == parent && status == 0; i++)
            status = append (self, &all.list[i]);
    }
end:
    rota_tree_clear (&all);
    return status;
}

void rota_tree_clear (rota_tree_t *self)
{
    free (self->list);
    *self = (rota_tree_t){0};
}

static bool signal_one (const rota_process_t *process, int signal_number)
{
    int fd = (int)syscall (SYS_pidfd_open, process->pid, 0);
    if (fd < 0)
        return false;
    bool sent = rota_process_lives (process->pid, process->start_ticks) &&
                syscall (SYS_pidfd_send_signal, fd, signal_number, NULL, 0) == 0;
    close (fd);
    return sent;
}

size_t rota_tree_signal (const rota_tree_t *self, int signal_number)
{
    size_t count = 0;
    for (size_t i = 0; i < self->count; i++)
        count += signal_one (&self->list[i], signal_number);
    return count;
}

size_t rota_tree_kill (pid_t root, bool (*wanted) (void *context, pid_t child), void *context)
{
    rota_tree_t tree = {0};
    for (int round = 0; round < STOP_ROUNDS_MAX; round++) {
        if (rota_tree_collect (&tree, root, wanted, context) < 0)
            break;
        size_t stopped = 0;
        for (size_t i = 0; i < tree.count; i++)
            if (tree.list[i].state != 'T')
                stopped += signal_one (&tree.list[i], SIGSTOP);
        if (stopped == 0)
            break;
    }
    size_t count = rota_tree_signal (&tree, SIGKILL);
    rota_tree_clear (&tree);
    return count;
}

uint64_t rota_tree_rss_bytes (const rota_tree_t *self)
{
    uint64_t pages = 0;
    for (size_t i = 0; i < self->count; i++) {
        char text[128];
        const char *resident =
            read_proc (self->list[i].pid, "statm", text, sizeof text) > 0 ? strchr (text, ' ') : NULL;
        if (resident)
            pages += strtoull (resident, NULL, 10);
    }
    return pages * (uint64_t)sysconf (_SC_PAGESIZE);
}
