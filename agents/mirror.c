#include "agents/mirror.h"

#include "agents/clone_internal.h"
#include "agents/files.h"
#include "bus/clock.h"
#include "bus/names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PACKS_MAX 30 /* before they become one */
#define REFS_MAX_BYTES ((size_t)64 << 20)
#define LOCK_WAIT_MS (30 * 60 * 1000) /* somebody fetches, or packs, all of a large repository */
#define POLL_MS 20
#define TRIES 10

static bool path_in (const char *directory, const char *name, char ret_path[PATH_MAX])
{
    return snprintf (ret_path, PATH_MAX, "%s/%s", directory, name) < PATH_MAX;
}

static int lock_file (const char *path, int how, int64_t wait_ms, int *ret_fd)
{
    int fd = open (path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    for (int64_t end = rota_clock_monotonic_ms () + wait_ms; flock (fd, how | LOCK_NB) < 0;) {
        int code = errno;
        if ((code != EWOULDBLOCK && code != EINTR) || rota_clock_monotonic_ms () >= end) {
            close (fd);
            return -code;
        }
        poll (NULL, 0, POLL_MS);
    }
    *ret_fd = fd;
    return 0;
}

/* ---- upkeep: under the exclusive lock */

static size_t count_packs (const char *path)
{
    char packs[PATH_MAX];
    size_t count = 0;
    DIR *directory = path_in (path, "objects/pack", packs) ? opendir (packs) : NULL;
    for (struct dirent *entry; directory && (entry = readdir (directory));) {
        size_t length = strlen (entry->d_name);
        count += length > 5 && strcmp (entry->d_name + length - 5, ".pack") == 0;
    }
    if (directory)
        closedir (directory);
    return count;
}

static void pack_anew (const char *path, const rota_git_t *git)
{
    rota_git_t here = *git;
    const rota_git_call_t call = {0};
    rota_error_t error = {""};
    here.git_dir = path;
    int status = rota_git (&here, &call, &error, "repack", "-a", "-d", "-q", NULL);
    if (status == 0)
        status = rota_git (&here, &call, &error, "prune", "--expire=now", NULL);
    if (status < 0)
        fprintf (stderr, "rota-agent: the mirror %s can't be packed: %s\n", path, error.text);
}

/* All but the lock, which others may have open. */
static void empty (const char *path)
{
    int fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir (fd);
    for (struct dirent *entry; directory && (entry = readdir (directory));)
        if (strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0 &&
            strcmp (entry->d_name, "lock") != 0)
            rota_files_remove (dirfd (directory), entry->d_name);
    if (directory)
        closedir (directory);
}

static void keep_up (const char *path, const rota_git_t *git)
{
    char broken[PATH_MAX];
    if (path_in (path, "broken", broken) && access (broken, F_OK) == 0)
        empty (path);
    else if (count_packs (path) > PACKS_MAX)
        pack_anew (path, git);
}

/* Under a name of its own first, so that whoever waits for its lock finds that it is gone. */
static void remove_one (const char *mirrors, const char *name)
{
    char path[PATH_MAX], gone[PATH_MAX], lock[PATH_MAX];
    int fd = -1;
    if (!path_in (mirrors, name, path) || !path_in (path, "lock", lock) ||
        snprintf (gone, sizeof gone, "%s/gone.%d", mirrors, (int)getpid ()) >= (int)sizeof gone ||
        lock_file (lock, LOCK_EX, 0, &fd) < 0)
        return;
    if (rename (path, gone) == 0)
        rota_files_remove_path (gone);
    close (fd);
}

static void remove_old (const char *mirrors, const char *own, int64_t retention_ms)
{
    DIR *directory = opendir (mirrors);
    for (struct dirent *entry; directory && (entry = readdir (directory));) {
        char path[PATH_MAX], lock[PATH_MAX];
        struct stat info;
        if (entry->d_name[0] == '.' || strcmp (entry->d_name, own) == 0 ||
            !path_in (mirrors, entry->d_name, path) || !path_in (path, "lock", lock))
            continue;
        /* One without a lock was being removed. */
        if (stat (lock, &info) < 0)
            rota_files_remove_path (path);
        else if (rota_clock_wall_ms () - (int64_t)info.st_mtim.tv_sec * 1000 > retention_ms)
            remove_one (mirrors, entry->d_name);
    }
    if (directory)
        closedir (directory);
}

/* ---- opening */

static void name_of (const char *url, char ret_name[64])
{
    size_t used =
        (size_t)snprintf (ret_name, 64, "%016llx-", (unsigned long long)rota_hash (url, strlen (url)));
    const char *end = url + strlen (url), *at;
    while (end > url && end[-1] == '/')
        end--;
    for (at = end; at > url && at[-1] != '/' && end - at < 40;)
        at--;
    for (; at < end; at++)
        if (strchr ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", *at))
            ret_name[used++] = *at;
    ret_name[used] = '\0';
}

/* The URL may hold a password; that its hash is the same as another's is seen by a second hash of it. */
static int fill (rota_pool_t *pool, const char *path, const char *url, const char *format,
                 rota_error_t *error)
{
    char head[PATH_MAX], mark[PATH_MAX], salted[40], wanted[40], found[40] = "";
    rota_clone_t like = {.pool = pool};
    char *text = rota_pool_format (pool, "rota mirror %s %s", format, url);
    if (!text || !path_in (path, "HEAD", head) || !path_in (path, "of", mark))
        return rota_error_set (error, -ENOMEM, "no memory");
    snprintf (salted, sizeof salted, "%016llx", (unsigned long long)rota_hash (text, strlen (text)));
    snprintf (wanted, sizeof wanted, "%s\n", salted);
    if (access (head, F_OK) < 0 || access (mark, F_OK) < 0) {
        int status = rota_clone_make_git_dir (&like, path, format, true, NULL, error);
        return status == 0 ? rota_files_write (mark, wanted, strlen (wanted), error) : status;
    }
    FILE *file = fopen (mark, "re");
    if (file && !fgets (found, sizeof found, file))
        *found = '\0';
    if (file)
        fclose (file);
    return strcmp (found, wanted) == 0 ? 0 : rota_error_set (error, -EEXIST, "%s is of another URL", path);
}

/* Whether what is locked is what lies there. */
static bool is_current (int fd, const char *lock)
{
    struct stat ours, theirs;
    return fstat (fd, &ours) == 0 && stat (lock, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
           ours.st_dev == theirs.st_dev;
}

static int take_lock (const char *path, const rota_git_t *git, int *ret_fd, rota_error_t *error)
{
    char lock[PATH_MAX];
    int status = -ENAMETOOLONG, fd = -1;
    for (int i = 0; i < TRIES && path_in (path, "lock", lock); i++) {
        if ((status = rota_files_make_directory (path, error)) < 0)
            return status;
        if (lock_file (lock, LOCK_EX, 0, &fd) == 0) {
            if (is_current (fd, lock))
                keep_up (path, git);
            close (fd);
        }
        if ((status = lock_file (lock, LOCK_SH, LOCK_WAIT_MS, &fd)) < 0)
            break;
        if (is_current (fd, lock)) {
            futimens (fd, NULL);
            *ret_fd = fd;
            return 0;
        }
        close (fd);
        status = -EAGAIN;
    }
    return rota_error_set (error, status, "%s: %s", path, strerror (-status));
}

int rota_mirror_open (rota_pool_t *pool, const char *mirrors, const char *url, const char *format,
                      int64_t retention_ms, const rota_git_t *git, rota_mirror_t *ret_self,
                      rota_error_t *error)
{
    char name[64], fetching[PATH_MAX];
    name_of (url, name);
    rota_mirror_t self = {.path = rota_pool_format (pool, "%s/%s", mirrors, name),
                          .objects = rota_pool_format (pool, "%s/%s/objects", mirrors, name),
                          .lock_fd = -1};
    int fd = -1;
    if (!self.path || !self.objects)
        return rota_error_set (error, -ENOMEM, "no memory");
    int status = rota_files_make_directories (mirrors, error);
    if (status < 0)
        return status;
    remove_old (mirrors, name, retention_ms);
    status = take_lock (self.path, git, &self.lock_fd, error);
    if (status < 0)
        return status;
    if (!path_in (self.path, "fetch.lock", fetching) ||
        (status = lock_file (fetching, LOCK_EX, LOCK_WAIT_MS, &fd)) < 0)
        status = rota_error_set (error, status ? status : -ENAMETOOLONG, "%s can't be locked", self.path);
    if (status == 0)
        status = fill (pool, self.path, url, format, error);
    if (fd >= 0)
        close (fd);
    if (status < 0)
        close (self.lock_fd);
    else
        *ret_self = self;
    return status;
}

/* ---- fetching */

/* Objects are shared already: only the names are missing. */
static int name_refs (const rota_mirror_t *self, const rota_git_t *git, const char *ours, rota_error_t *error)
{
    rota_git_t from = *git, to = *git;
    char shallow[PATH_MAX], copy[PATH_MAX];
    rota_bytes_t refs = {.max_bytes = REFS_MAX_BYTES};
    from.git_dir = self->path;
    to.git_dir = ours;
    const rota_git_call_t list = {.output = &refs};
    int status = rota_git (&from, &list, error, "for-each-ref", "--format=update %(refname) %(objectname)",
                           "refs/rota/", NULL);
    const rota_git_call_t update = {.input = refs.bytes, .input_bytes = refs.size_bytes};
    if (status == 0 && refs.size_bytes)
        status = rota_git (&to, &update, error, "update-ref", "--no-deref", "--stdin", NULL);
    rota_bytes_clear (&refs);
    if (status == 0 && path_in (self->path, "shallow", shallow) && path_in (ours, "shallow", copy) &&
        access (shallow, F_OK) == 0)
        status = rota_files_copy (shallow, copy, error);
    return status;
}

int rota_mirror_fetch (const rota_mirror_t *self, const rota_git_t *git, const char *ours,
                       const char *const *arguments, rota_error_t *error)
{
    char lock[PATH_MAX];
    rota_git_t here = *git;
    int fd = -1, status = path_in (self->path, "fetch.lock", lock) ? 0 : -ENAMETOOLONG;
    here.git_dir = self->path;
    if (status == 0)
        status = lock_file (lock, LOCK_EX, LOCK_WAIT_MS, &fd);
    if (status < 0)
        return rota_error_set (error, status, "%s can't be locked: %s", self->path, strerror (-status));
    const rota_git_call_t call = {.more = (const char **)arguments, .held_fd = fd};
    status = rota_git (&here, &call, error, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
                       "--update-shallow", "--prune", NULL);
    if (status == 0)
        status = name_refs (self, git, ours, error);
    close (fd);
    return status;
}

void rota_mirror_give_up (const rota_mirror_t *self)
{
    char path[PATH_MAX];
    rota_error_t error = {""};
    if (path_in (self->path, "broken", path))
        rota_files_write (path, "", 0, &error);
}
