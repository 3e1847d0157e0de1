#include "agents/spool.h"
#include "agents/spool_format.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".attempt"
#define QUARANTINE "quarantine"
#define QUARANTINE_MAX 1000 /* files; the oldest evidence is enough */

static int join (char ret_path[PATH_MAX], const char *directory, const char *name)
{
    return snprintf (ret_path, PATH_MAX, "%s/%s", directory, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

void rota_spool_name (const uint8_t store[16], uint64_t key, uint32_t number,
                      char ret_name[ROTA_SPOOL_NAME_BYTES])
{
    char hex[33];
    for (int i = 0; i < 16; i++)
        snprintf (hex + 2 * i, 3, "%02x", store[i]);
    snprintf (ret_name, ROTA_SPOOL_NAME_BYTES, "%s-%" PRIu64 "-%" PRIu32 SUFFIX, hex, key, number);
}

static int sync_directory (const char *directory)
{
    int fd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int status = fsync (fd) < 0 ? -errno : 0;
    close (fd);
    return status;
}

static int write_at (int fd, const uint8_t *bytes, size_t size, off_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t written = pwrite (fd, bytes + done, size - done, offset + (off_t)done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? -errno : -ENOSPC;
        done += (size_t)written;
    }
    return 0;
}

int rota_spool_begin (const char *directory, const rota_spool_running_t *running, int *ret_fd,
                      rota_error_t *error)
{
    char name[ROTA_SPOOL_NAME_BYTES], path[PATH_MAX];
    uint8_t bytes[ROTA_SPOOL_FILE_BYTES] = {0};

    rota_spool_name (running->store, running->key, running->number, name);
    int status = join (path, directory, name);
    if (status < 0)
        return rota_error_set (error, status, "the path of the spool is too long");
    rota_spool_encode_running (running, bytes);
    unlink (path);
    int fd = open (path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return rota_error_set (error, -errno, "can't write to the spool %s: %s", directory, strerror (errno));
    status = write_at (fd, bytes, sizeof bytes, 0);
    if (status < 0) {
        close (fd);
        unlink (path);
        return rota_error_set (error, status, "can't write to the spool %s: %s", directory,
                               strerror (-status));
    }
    *ret_fd = fd;
    return 0;
}

int rota_spool_finish (const char *directory, int fd, const rota_outcome_t *outcome)
{
    uint8_t bytes[ROTA_SPOOL_OUTCOME_MAX_BYTES];
    size_t size = rota_spool_encode_outcome (outcome, bytes);
    int status = write_at (fd, bytes, size, ROTA_SPOOL_OUTCOME_OFFSET);
    if (status == 0 && fsync (fd) < 0)
        status = -errno;
    /* The file's name is part of what must last. */
    return status == 0 ? sync_directory (directory) : status;
}

/* 0 or a negative errno; -EBADMSG comes with the reason. */
static int read_file (const char *directory, const char *name, rota_spool_record_t *ret_record,
                      const char **ret_why)
{
    char path[PATH_MAX];
    uint8_t bytes[ROTA_SPOOL_FILE_BYTES + 1];
    struct stat info;

    int status = join (path, directory, name);
    if (status < 0)
        return status;
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    *ret_why = "not a regular file";
    if (fd < 0)
        return errno == ELOOP ? -EBADMSG : -errno;
    if (fstat (fd, &info) < 0 || !S_ISREG (info.st_mode)) {
        close (fd);
        return -EBADMSG;
    }
    ssize_t size = pread (fd, bytes, sizeof bytes, 0);
    status = size < 0 ? -errno : 0;
    close (fd);
    if (status < 0)
        return status;
    return rota_spool_decode (bytes, (size_t)size, ret_record, ret_why);
}

int rota_spool_read (const char *directory, const char *name, rota_spool_record_t *ret_record)
{
    const char *why;
    return read_file (directory, name, ret_record, &why);
}

static size_t count_entries (const char *path)
{
    size_t count = 0;
    DIR *stream = opendir (path);
    while (stream && readdir (stream))
        count++;
    if (stream)
        closedir (stream);
    return count;
}

int rota_spool_quarantine (const char *directory, const char *name)
{
    char from[PATH_MAX], aside[PATH_MAX], to[PATH_MAX];
    if (join (from, directory, name) < 0 || join (aside, directory, QUARANTINE) < 0 ||
        join (to, aside, name) < 0)
        return -ENAMETOOLONG;
    if (mkdir (aside, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (count_entries (aside) >= QUARANTINE_MAX)
        return unlink (from) < 0 ? -errno : 0;
    return rename (from, to) < 0 ? -errno : 0;
}

static bool has_suffix (const char *name)
{
    size_t length = strlen (name), suffix = strlen (SUFFIX);
    return length > suffix && strcmp (name + length - suffix, SUFFIX) == 0;
}

int rota_spool_list (const char *directory,
                     void (*take) (void *context, const char *name, const rota_spool_record_t *record),
                     void (*bad) (void *context, const char *name, const char *why), void *context)
{
    int count = 0;
    DIR *stream = opendir (directory);
    if (!stream)
        return -errno;
    for (struct dirent *entry; (entry = readdir (stream));) {
        rota_spool_record_t record = {0};
        char expected[ROTA_SPOOL_NAME_BYTES];
        const char *why = "";
        if (!has_suffix (entry->d_name))
            continue;
        int status = read_file (directory, entry->d_name, &record, &why);
        if (status == 0) {
            /* A record under another's name would be removed in its place. */
            const rota_spool_running_t *running = &record.running;
            rota_spool_name (running->store, running->key, running->number, expected);
            if (strcmp (expected, entry->d_name) != 0) {
                status = -EBADMSG;
                why = "the name doesn't fit the content";
            }
        }
        if (status == 0) {
            take (context, entry->d_name, &record);
            count++;
        } else if (status == -EBADMSG) {
            rota_spool_quarantine (directory, entry->d_name);
            if (bad)
                bad (context, entry->d_name, why);
        }
    }
    closedir (stream);
    return count;
}

int rota_spool_remove (const char *directory, const char *name)
{
    char path[PATH_MAX];
    int status = join (path, directory, name);
    if (status < 0)
        return status;
    return unlink (path) < 0 && errno != ENOENT ? -errno : 0;
}

void rota_spool_boot_id (uint8_t ret_id[16])
{
    char text[64] = "";
    FILE *file = fopen ("/proc/sys/kernel/random/boot_id", "re");
    memset (ret_id, 0, 16);
    if (!file)
        return;
    if (fgets (text, sizeof text, file)) {
        int at = 0;
        for (const char *c = text; *c && at < 32; c++) {
            int digit = *c >= '0' && *c <= '9' ? *c - '0' : *c >= 'a' && *c <= 'f' ? *c - 'a' + 10 : -1;
            if (digit < 0)
                continue;
            ret_id[at / 2] = (uint8_t)(ret_id[at / 2] << 4 | digit);
            at++;
        }
    }
    fclose (file);
}
