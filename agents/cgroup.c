#include "agents/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Two names in a directory, cut when they don't fit: open says ENOENT then. */
static void join (char *ret_path, size_t capacity, const char *directory, const char *name)
{
    if (snprintf (ret_path, capacity, "%s/%s", directory, name) >= (int)capacity)
        ret_path[0] = 0;
}

static int write_file (const char *directory, const char *name, const char *text)
{
    char path[ROTA_CGROUP_PATH_BYTES + 32];
    join (path, sizeof path, directory, name);
    int fd = open (path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int code = write (fd, text, strlen (text)) < 0 ? -errno : 0;
    close (fd);
    return code;
}

static FILE *open_file (const char *directory, const char *name)
{
    char path[ROTA_CGROUP_PATH_BYTES + 32];
    join (path, sizeof path, directory, name);
    return fopen (path, "re");
}

static bool has_file (const char *directory, const char *name)
{
    char path[ROTA_CGROUP_PATH_BYTES + 32];
    join (path, sizeof path, directory, name);
    return access (path, F_OK) == 0;
}

/* Where the hierarchy is mounted: cgroup2, or the v1 one that has `controller`. */
static int find_mount (const char *controller, char ret_path[ROTA_CGROUP_PATH_BYTES])
{
    FILE *file = fopen ("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t capacity = 0;
    int status = -ENOTSUP;
    if (!file)
        return status;
    while (status < 0 && getline (&line, &capacity, file) > 0) {
        char point[ROTA_CGROUP_PATH_BYTES], type[32], options[256];
        char *tail = strstr (line, " - ");
        if (!tail || sscanf (line, "%*s %*s %*s %*s %511s", point) != 1 ||
            sscanf (tail, " - %31s %*s %255s", type, options) != 2)
            continue;
        bool found = controller ? strcmp (type, "cgroup") == 0 && strstr (options, controller)
                                : strcmp (type, "cgroup2") == 0;
        if (found) {
            memcpy (ret_path, point, sizeof point);
            status = 0;
        }
    }
    free (line);
    fclose (file);
    return status;
}

/* Our own group in that hierarchy: a line of /proc/self/cgroup is "ID:CONTROLLERS:PATH". */
static int find_own (const char *controller, char ret_path[ROTA_CGROUP_PATH_BYTES])
{
    FILE *file = fopen ("/proc/self/cgroup", "re");
    char *line = NULL;
    size_t capacity = 0;
    int status = -ENOTSUP;
    if (!file)
        return status;
    while (status < 0 && getline (&line, &capacity, file) > 0) {
        char *controllers = strchr (line, ':');
        char *path = controllers ? strchr (controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        controllers++;
        path[strcspn (path, "\n")] = 0;
        bool found = controller ? strstr (controllers, controller) != NULL : controllers[0] == 0;
        if (found && strlen (path) < ROTA_CGROUP_PATH_BYTES) {
            snprintf (ret_path, ROTA_CGROUP_PATH_BYTES, "%s", strcmp (path, "/") == 0 ? "" : path);
            status = 0;
        }
    }
    free (line);
    fclose (file);
    return status;
}

static int try_hierarchy (const char *controller, const char *needs, char ret_path[ROTA_CGROUP_PATH_BYTES])
{
    char mount[ROTA_CGROUP_PATH_BYTES], own[ROTA_CGROUP_PATH_BYTES];
    char parent[2 * ROTA_CGROUP_PATH_BYTES], probe[2 * ROTA_CGROUP_PATH_BYTES + 32];
    if (find_mount (controller, mount) < 0 || find_own (controller, own) < 0)
        return -ENOTSUP;
    snprintf (parent, sizeof parent, "%s%s", mount, own);
    /* Room is kept for the name of a group. */
    if (strlen (parent) > ROTA_CGROUP_PATH_BYTES / 2)
        return -ENOTSUP;
    snprintf (probe, sizeof probe, "%s/rota-probe-%d", parent, (int)getpid ());
    if (mkdir (probe, 0755) < 0)
        return -errno;
    bool fits = has_file (probe, needs) && has_file (probe, "cgroup.procs");
    rmdir (probe);
    if (!fits)
        return -ENOTSUP;
    memcpy (ret_path, parent, strlen (parent) + 1);
    return 0;
}

int rota_cgroup_find_parent (char ret_path[ROTA_CGROUP_PATH_BYTES])
{
    if (try_hierarchy (NULL, "cgroup.kill", ret_path) == 0 ||
        try_hierarchy ("freezer", "freezer.state", ret_path) == 0)
        return 0;
    return -ENOTSUP;
}

/* v1: nothing in a frozen group can fork, so one pass over it gets all. */
static void kill_all (const char *path, bool v2)
{
    if (v2) {
        write_file (path, "cgroup.kill", "1");
        return;
    }
    write_file (path, "freezer.state", "FROZEN");
    FILE *file = open_file (path, "cgroup.procs");
    char line[32];
    while (file && fgets (line, sizeof line, file)) {
        long pid = strtol (line, NULL, 10);
        if (pid > 0)
            kill ((pid_t)pid, SIGKILL);
    }
    if (file)
        fclose (file);
    write_file (path, "freezer.state", "THAWED");
}

int rota_cgroup_make (const char *parent, const char *name, uint64_t memory_limit_bytes,
                      rota_cgroup_t *ret_group)
{
    rota_cgroup_t group = {.fd = -1};
    *ret_group = group;
    int length = snprintf (group.path, sizeof group.path, "%s/%s", parent, name);
    if (length < 0 || (size_t)length >= sizeof group.path)
        return -ENAMETOOLONG;
    bool made = mkdir (group.path, 0755) == 0;
    if (!made && errno == EEXIST) {
        /* Never one that was used: Linux 6.18 kills what is cloned into a group whose cgroup.kill was
         * written before. */
        kill_all (group.path, has_file (group.path, "cgroup.kill"));
        rmdir (group.path);
        made = mkdir (group.path, 0755) == 0;
    }
    if (!made)
        return -errno;
    group.fd = open (group.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group.fd < 0) {
        int code = -errno;
        rmdir (group.path);
        return code;
    }
    group.v2 = has_file (group.path, "cgroup.kill");
    if (memory_limit_bytes) {
        char text[32];
        snprintf (text, sizeof text, "%llu", (unsigned long long)memory_limit_bytes);
        group.limits_memory = write_file (group.path, "memory.max", text) == 0;
        write_file (group.path, "memory.oom.group", "1");
    }
    *ret_group = group;
    return 0;
}

static void enter (const rota_cgroup_t *self)
{
    if (!self->path[0])
        return;
    int fd = openat (self->fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    /* Failing is no error: the group is an addition. */
    ssize_t ignored = write (fd, "0", 1);
    (void)ignored;
    close (fd);
}

pid_t rota_cgroup_fork (const rota_cgroup_t *self)
{
    if (self->path[0] && self->v2) {
        /* Moving a process later costs a wait for all processors (0.5 ms here); starting it inside costs
         * nothing. */
        struct clone_args arguments = {
            .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (unsigned)self->fd};
        pid_t pid = (pid_t)syscall (SYS_clone3, &arguments, sizeof arguments);
        if (pid >= 0)
            return pid;
    }
    pid_t pid = fork ();
    if (pid == 0)
        enter (self);
    return pid;
}

void rota_cgroup_kill (const rota_cgroup_t *self)
{
    if (self->path[0])
        kill_all (self->path, self->v2);
}

bool rota_cgroup_out_of_memory (const rota_cgroup_t *self)
{
    char line[128];
    bool found = false;
    FILE *file = self->limits_memory ? open_file (self->path, "memory.events") : NULL;
    if (!file)
        return false;
    while (!found && fgets (line, sizeof line, file))
        found = strncmp (line, "oom_kill ", 9) == 0 && strtoull (line + 9, NULL, 10) > 0;
    fclose (file);
    return found;
}

void rota_cgroup_remove (rota_cgroup_t *self)
{
    if (!self->path[0])
        return;
    close (self->fd);
    rmdir (self->path);
    *self = (rota_cgroup_t){.fd = -1};
}

void rota_cgroup_name (const char *mark, char ret_name[ROTA_CGROUP_NAME_BYTES])
{
    snprintf (ret_name, ROTA_CGROUP_NAME_BYTES, "rota-%s", mark);
}

bool rota_cgroup_end (const char *parent, const char *name)
{
    char path[ROTA_CGROUP_PATH_BYTES];
    join (path, sizeof path, parent, name);
    if (!path[0] || access (path, F_OK) < 0)
        return true;
    kill_all (path, has_file (path, "cgroup.kill"));
    return rmdir (path) == 0 || errno == ENOENT;
}
