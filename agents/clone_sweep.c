/* clone_sweep.c - which clones are in use: each has its lock, and those whose lock is free are removed. */
#include "agents/clone_internal.h"
#include "agents/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define OURS ".rota"
#define LOCK "lock"
#define DEAD_MAX 64 /* at a time: the next one takes the rest */

typedef struct {
    int directory_fd, lock_fds[DEAD_MAX];
    char names[DEAD_MAX][NAME_MAX + 1];
    size_t count;
} dead_t;

/* The lock of CLONE.rota `name`, or -EWOULDBLOCK when its driver lives. A directory without one is of a
 * driver that died before it had it: under the lock of the directory above nobody is about to make it. */
static int take_lock (int directory_fd, const char *name)
{
    char path[NAME_MAX + sizeof "/" LOCK];
    snprintf (path, sizeof path, "%s/" LOCK, name);
    int fd = openat (directory_fd, path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock (fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    int code = errno;
    close (fd);
    return -code;
}

static void find_dead (dead_t *dead)
{
    int fd = openat (dead->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir (fd);
    if (!directory) {
        if (fd >= 0)
            close (fd);
        return;
    }
    struct dirent *entry;
    while (dead->count < DEAD_MAX && (entry = readdir (directory))) {
        size_t length = strlen (entry->d_name);
        if (length <= strlen (OURS) || strcmp (entry->d_name + length - strlen (OURS), OURS) != 0)
            continue;
        int lock_fd = take_lock (dead->directory_fd, entry->d_name);
        if (lock_fd < 0)
            continue;
        memcpy (dead->names[dead->count], entry->d_name, length + 1);
        dead->lock_fds[dead->count++] = lock_fd;
    }
    closedir (directory);
}

/* Out of the way under a name of its own, with the clone inside, so that its name is free at once. */
static void rename_dead (dead_t *dead)
{
    for (size_t i = 0; i < dead->count; i++) {
        char *name = dead->names[i], clone[NAME_MAX + 1], inside[2 * NAME_MAX], gone[NAME_MAX + 1];
        snprintf (clone, sizeof clone, "%.*s", (int)(strlen (name) - strlen (OURS)), name);
        snprintf (inside, sizeof inside, "%s/clone", name);
        snprintf (gone, sizeof gone, "dead.%d.%zu" OURS, (int)getpid (), i);
        renameat (dead->directory_fd, clone, dead->directory_fd, inside);
        if (renameat (dead->directory_fd, name, dead->directory_fd, gone) == 0)
            memcpy (name, gone, strlen (gone) + 1);
    }
}

static void remove_dead (const dead_t *dead)
{
    for (size_t i = 0; i < dead->count; i++) {
        rota_files_remove (dead->directory_fd, dead->names[i]);
        close (dead->lock_fds[i]);
    }
}

static int make (const char *path, const char *ours, int *ret_lock_fd, int directory_fd, rota_error_t *error)
{
    if (rmdir (path) < 0 && errno != ENOENT)
        return rota_error_set (error, -EEXIST, "%s is there already, and no clone of rota's", path);
    if (mkdir (ours, 0700) < 0)
        return rota_error_set (error, -errno, "%s: %s", ours, strerror (errno));
    int fd = take_lock (directory_fd, strrchr (ours, '/') + 1);
    if (fd < 0)
        return rota_error_set (error, fd, "%s: %s", ours, strerror (-fd));
    *ret_lock_fd = fd;
    return 0;
}

int rota_clone_claim (const char *path, const char *ours, int *ret_lock_fd, rota_error_t *error)
{
    char above[PATH_MAX];
    snprintf (above, sizeof above, "%s", path);
    *strrchr (above, '/') = '\0';
    dead_t *dead = calloc (1, sizeof *dead);
    int fd = open (above, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status;
    if (!dead || fd < 0 || flock (fd, LOCK_EX) < 0) {
        status = rota_error_set (error, dead ? -errno : -ENOMEM, "%s: %s", above, strerror (errno));
        goto end;
    }
    dead->directory_fd = fd;
    find_dead (dead);
    rename_dead (dead);
    status = make (path, ours, ret_lock_fd, fd, error);
    flock (fd, LOCK_UN);
    remove_dead (dead);
end:
    if (fd >= 0)
        close (fd);
    free (dead);
    return status;
}
