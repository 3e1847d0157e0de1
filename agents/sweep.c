#include "agents/sweep.h"

#include "agents/environment.h"
#include "agents/tree.h"
#include "bus/names.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENVIRON_MAX_BYTES (256u << 10) /* the mark stands among the first: the host puts it there */

void rota_sweep_mark (const char *spool_directory, uint64_t key, uint32_t number,
                      char ret_mark[ROTA_SWEEP_MARK_BYTES])
{
    uint64_t owner = rota_hash (spool_directory, strlen (spool_directory));
    snprintf (ret_mark, ROTA_SWEEP_MARK_BYTES, "%016" PRIx64 "-%" PRIu64 "-%" PRIu32, owner, key, number);
}

/* "KEY-NUMBER"; the buffer ends with a NUL. */
static bool read_numbers (const char *text, uint64_t *ret_key, uint32_t *ret_number)
{
    char *end;
    *ret_key = strtoull (text, &end, 10);
    if (end == text || *end != '-')
        return false;
    *ret_number = (uint32_t)strtoul (end + 1, &end, 10);
    return *end == '\0';
}

/* Looks for "NAME=OWNER-" at the start of a variable. */
static bool find_mark (const char *text, size_t size, const char *wanted, uint64_t *ret_key,
                       uint32_t *ret_number)
{
    size_t length = strlen (wanted);
    for (const char *at = text, *end = text + size; at < end; at += strnlen (at, (size_t)(end - at)) + 1)
        if ((size_t)(end - at) > length && memcmp (at, wanted, length) == 0)
            return read_numbers (at + length, ret_key, ret_number);
    return false;
}

static size_t read_environment (pid_t pid, char *buffer)
{
    char path[64];
    snprintf (path, sizeof path, "/proc/%d/environ", (int)pid);
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    size_t size = 0;
    for (ssize_t got; size < ENVIRON_MAX_BYTES; size += (size_t)got)
        if ((got = read (fd, buffer + size, ENVIRON_MAX_BYTES - size)) <= 0)
            break;
    close (fd);
    buffer[size] = 0;
    return size;
}

size_t rota_sweep (const char *spool_directory, bool (*spared) (void *context, uint64_t key, uint32_t number),
                   void *context)
{
    char mark[ROTA_SWEEP_MARK_BYTES], wanted[ROTA_SWEEP_MARK_BYTES + 32];
    rota_sweep_mark (spool_directory, 0, 0, mark);
    *strchr (mark, '-') = 0;
    snprintf (wanted, sizeof wanted, ROTA_ENVIRONMENT_MARK "=%s-", mark);

    size_t found = 0;
    DIR *directory = opendir ("/proc");
    char *buffer = malloc (ENVIRON_MAX_BYTES + 1);
    for (struct dirent *entry; directory && buffer && (entry = readdir (directory));) {
        pid_t pid = (pid_t)strtol (entry->d_name, NULL, 10);
        rota_process_t process;
        uint64_t key;
        uint32_t number;
        if (!isdigit ((unsigned char)entry->d_name[0]) || pid == getpid ())
            continue;
        /* Identity first: a pid that is reused between the two reads has another start time then. */
        if (rota_process_read (pid, &process) < 0 ||
            !find_mark (buffer, read_environment (pid, buffer), wanted, &key, &number) ||
            (spared && spared (context, key, number)))
            continue;
        rota_tree_t one = {.list = &process, .count = 1};
        found += rota_tree_signal (&one, SIGKILL);
    }
    free (buffer);
    if (directory)
        closedir (directory);
    return found;
}
