#include "telemetry/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DAY_MS (INT64_C (24) * 3600 * 1000)
#define LAST_DAY 2932896 /* 9999-12-31 */

static int kernel_open (void *owner, int directory, const char *name, int flags)
{
    (void)owner;
    int fd = openat (directory, name, flags | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

static ssize_t kernel_write (void *owner, int fd, const void *bytes, size_t size_bytes)
{
    (void)owner;
    ssize_t written;
    do
        written = write (fd, bytes, size_bytes);
    while (written < 0 && errno == EINTR);
    return written < 0 ? -errno : written;
}

static int kernel_sync (void *owner, int fd)
{
    (void)owner;
    return fsync (fd) < 0 ? -errno : 0;
}

static int kernel_truncate (void *owner, int fd, int64_t size_bytes)
{
    (void)owner;
    return ftruncate (fd, size_bytes) < 0 ? -errno : 0;
}

static int kernel_rename (void *owner, int directory, const char *from, const char *to)
{
    (void)owner;
    return renameat (directory, from, directory, to) < 0 ? -errno : 0;
}

static int kernel_unlink (void *owner, int directory, const char *name)
{
    (void)owner;
    return unlinkat (directory, name, 0) < 0 ? -errno : 0;
}

const rota_file_ops_t ROTA_FILE_OPS = {
    .open = kernel_open,
    .write = kernel_write,
    .sync = kernel_sync,
    .truncate = kernel_truncate,
    .rename = kernel_rename,
    .unlink = kernel_unlink,
};

int32_t rota_journal_day (int64_t wall_ms)
{
    if (wall_ms < 0)
        return 0;
    int64_t day = wall_ms / DAY_MS;
    return day > LAST_DAY ? LAST_DAY : (int32_t)day;
}

void rota_journal_name (int32_t day, uint32_t number, bool compressed, char ret_name[ROTA_JOURNAL_NAME_BYTES])
{
    time_t seconds = (time_t)day * 86400;
    struct tm parts = {0};
    gmtime_r (&seconds, &parts);
    snprintf (ret_name, ROTA_JOURNAL_NAME_BYTES, "events-%04d-%02d-%02d.%u.jsonl%s", parts.tm_year + 1900,
              parts.tm_mon + 1, parts.tm_mday, number, compressed ? ".gz" : "");
}

/* Reads at most `most` digits and the character `end` after them. */
static bool digits (const char **text, int most, char end, int *ret_number)
{
    int number = 0, count = 0;
    for (; count < most && **text >= '0' && **text <= '9'; count++, (*text)++)
        number = number * 10 + (**text - '0');
    if (count == 0 || **text != end)
        return false;
    *text += 1;
    *ret_number = number;
    return true;
}

bool rota_journal_name_parse (const char *name, rota_journal_file_t *ret_file)
{
    int year, month, day, number;
    const char *at = name + sizeof "events-" - 1;
    if (strncmp (name, "events-", sizeof "events-" - 1) != 0 || !digits (&at, 4, '-', &year) ||
        !digits (&at, 2, '-', &month) || !digits (&at, 2, '.', &day) || !digits (&at, 9, '.', &number))
        return false;
    struct tm parts = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
    time_t seconds = timegm (&parts);
    if (seconds < 0)
        return false;

    size_t length = strlen (name);
    rota_journal_file_t file = {
        .day = rota_journal_day ((int64_t)seconds * 1000),
        .number = (uint32_t)number,
        .compressed = length > 3 && strcmp (name + length - 3, ".gz") == 0,
    };
    /* Written again and compared, so that only the exact spelling counts: no "+1", no 31st of February. */
    rota_journal_name (file.day, file.number, file.compressed, file.name);
    if (strcmp (file.name, name) != 0)
        return false;
    *ret_file = file;
    return true;
}

static int compare (const void *left_p, const void *right_p)
{
    const rota_journal_file_t *left = left_p, *right = right_p;
    if (left->day != right->day)
        return left->day < right->day ? -1 : 1;
    if (left->number != right->number)
        return left->number < right->number ? -1 : 1;
    return (int)left->compressed - (int)right->compressed;
}

static bool is_leftover (const char *name)
{
    size_t length = strlen (name);
    return length > 4 && strcmp (name + length - 4, ".tmp") == 0;
}

/* 0 also for a file that went away meanwhile. */
static int add (int directory, const rota_journal_file_t *file, rota_journal_file_t **files, size_t *count)
{
    struct stat status;
    if (fstatat (directory, file->name, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG (status.st_mode))
        return 0;
    rota_journal_file_t *more = reallocarray (*files, *count + 1, sizeof *more);
    if (!more)
        return -ENOMEM;
    more[*count] = *file;
    more[*count].size_bytes = status.st_size;
    more[*count].modified_ms = (int64_t)status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1000000;
    *files = more;
    *count += 1;
    return 0;
}

int rota_journal_list (const rota_file_ops_t *ops, int directory, bool leftovers,
                       rota_journal_file_t **ret_files, size_t *ret_count)
{
    int fd = openat (directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *stream = fdopendir (fd);
    if (!stream) {
        int rc = -errno;
        close (fd);
        return rc;
    }

    rota_journal_file_t *files = NULL;
    size_t count = 0;
    int rc = 0;
    const struct dirent *entry;
    while (rc == 0 && (entry = readdir (stream))) {
        rota_journal_file_t file;
        if (rota_journal_name_parse (entry->d_name, &file))
            rc = add (directory, &file, &files, &count);
        else if (leftovers && is_leftover (entry->d_name))
            rc = ops->unlink (ops->owner, directory, entry->d_name);
    }
    closedir (stream);
    if (rc < 0) {
        free (files);
        return rc;
    }
    if (count)
        qsort (files, count, sizeof *files, compare);
    *ret_files = files;
    *ret_count = count;
    return 0;
}
