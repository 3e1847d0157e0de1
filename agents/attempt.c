#include "agents/attempt.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PACKED_MAX_BYTES (64u << 20)
#define LIST_MAX 65536u

/* Host and shim are one program image (the shim is forked, never executed), so numbers travel as the struct;
 * only texts need a form of their own: each with its NUL, one after the other. */
typedef struct {
    uint64_t size_bytes; /* of the whole */
    uint32_t arguments, variables;
    bool has_input, has_cgroup;
    rota_attempt_t plain;
} header_t;

static size_t text_size (const char *text)
{
    return text ? strlen (text) + 1 : 0;
}

static size_t list_size (char *const *list, uint32_t *ret_count)
{
    size_t size = 0;
    uint32_t count = 0;
    for (; list[count] && count < LIST_MAX; count++)
        size += text_size (list[count]);
    *ret_count = count;
    return size;
}

static void put (char **at, const char *text)
{
    size_t size = text_size (text);
    if (size)
        *at = mempcpy (*at, text, size);
}

int rota_attempt_pack (const rota_attempt_t *attempt, int *ret_fd)
{
    header_t header = {.plain = *attempt, .has_input = attempt->input, .has_cgroup = attempt->cgroup_parent};
    size_t size = sizeof header + list_size (attempt->argv, &header.arguments) +
                  list_size (attempt->environment, &header.variables) + text_size (attempt->task_id) +
                  text_size (attempt->directory) + text_size (attempt->log_path) +
                  text_size (attempt->spool_directory) + text_size (attempt->input) +
                  text_size (attempt->cgroup_parent);
    if (size > PACKED_MAX_BYTES || header.arguments == LIST_MAX || header.variables == LIST_MAX)
        return -E2BIG;
    header.size_bytes = size;

    int fd = memfd_create ("rota-attempt", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    char *map =
        ftruncate (fd, (off_t)size) < 0 ? MAP_FAILED : mmap (NULL, size, PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        int code = -errno;
        close (fd);
        return code;
    }
    char *at = mempcpy (map, &header, sizeof header);
    put (&at, attempt->task_id);
    put (&at, attempt->directory);
    put (&at, attempt->log_path);
    put (&at, attempt->spool_directory);
    put (&at, attempt->input);
    put (&at, attempt->cgroup_parent);
    for (uint32_t i = 0; i < header.arguments; i++)
        put (&at, attempt->argv[i]);
    for (uint32_t i = 0; i < header.variables; i++)
        put (&at, attempt->environment[i]);
    munmap (map, size);
    *ret_fd = fd;
    return 0;
}

/* The next text, or NULL when the record ends before its NUL. */
static char *take (char **at, const char *end)
{
    char *text = *at, *stop = memchr (text, 0, (size_t)(end - text));
    if (!stop)
        return NULL;
    *at = stop + 1;
    return text;
}

static bool take_list (char **at, const char *end, uint32_t count, char **list)
{
    for (uint32_t i = 0; i < count; i++)
        if (!(list[i] = take (at, end)))
            return false;
    return true;
}

int rota_attempt_unpack (int fd, rota_attempt_t *ret_attempt)
{
    struct stat info;
    header_t header;

    if (fstat (fd, &info) < 0)
        return -errno;
    size_t size = (size_t)info.st_size;
    if (size < sizeof header || size > PACKED_MAX_BYTES)
        return -EBADMSG;
    char *bytes = mmap (NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return -errno;
    memcpy (&header, bytes, sizeof header);
    if (header.size_bytes != size || header.arguments >= LIST_MAX || header.variables >= LIST_MAX ||
        header.arguments == 0)
        return -EBADMSG;
    char **lists = calloc ((size_t)header.arguments + header.variables + 2, sizeof *lists);
    if (!lists)
        return -ENOMEM;

    char *at = bytes + sizeof header, *end = bytes + size;
    rota_attempt_t *attempt = &header.plain;
    attempt->task_id = take (&at, end);
    attempt->directory = take (&at, end);
    attempt->log_path = take (&at, end);
    attempt->spool_directory = take (&at, end);
    attempt->input = header.has_input ? take (&at, end) : NULL;
    attempt->cgroup_parent = header.has_cgroup ? take (&at, end) : NULL;
    attempt->argv = lists;
    attempt->environment = lists + header.arguments + 1;
    if (!attempt->task_id || !attempt->directory || !attempt->log_path || !attempt->spool_directory ||
        (header.has_input && !attempt->input) || (header.has_cgroup && !attempt->cgroup_parent) ||
        !take_list (&at, end, header.arguments, lists) ||
        !take_list (&at, end, header.variables, lists + header.arguments + 1)) {
        free (lists);
        return -EBADMSG;
    }
    *ret_attempt = *attempt;
    return 0;
}
