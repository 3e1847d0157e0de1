#include "agents/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 64 /* a descriptor each; what is deeper is brought up first */
#define COPY_BYTES ((size_t)1 << 20)

typedef struct {
    int top_fd;
    unsigned moved;
    int failure;
} removal_t;

static int open_directory (int parent_fd, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    struct stat info;
    int fd = openat (parent_fd, name, flags);
    if (fd >= 0 || errno != EACCES || fstatat (parent_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISDIR (info.st_mode))
        return fd;
    return fchmodat (parent_fd, name, 0700, 0) < 0 ? -1 : openat (parent_fd, name, flags);
}

static bool unlink_at (int fd, const char *name, int flags)
{
    if (unlinkat (fd, name, flags) == 0 || errno == ENOENT)
        return true;
    return errno == EACCES && fchmod (fd, 0700) == 0 && unlinkat (fd, name, flags) == 0;
}

/* What lies in a directory, which is closed. */
static void empty (removal_t *self, int fd, int depth)
{
    DIR *directory = fdopendir (fd);
    if (!directory) {
        self->failure = errno;
        close (fd);
        return;
    }
    struct dirent *entry;
    while ((entry = readdir (directory))) {
        const char *name = entry->d_name;
        if (strcmp (name, ".") == 0 || strcmp (name, "..") == 0)
            continue;
        if (entry->d_type != DT_DIR && unlink_at (fd, name, 0))
            continue;
        if (depth >= DEPTH_MAX) {
            char up[64];
            snprintf (up, sizeof up, ".rota-deep-%u", self->moved++);
            if (renameat (fd, name, self->top_fd, up) == 0 ||
                (fchmod (fd, 0700) == 0 && renameat (fd, name, self->top_fd, up) == 0))
                continue;
        }
        int below = open_directory (fd, name);
        if (below >= 0)
            empty (self, below, depth + 1);
        if (!unlink_at (fd, name, AT_REMOVEDIR))
            self->failure = errno;
    }
    closedir (directory);
}

int rota_files_remove (int parent_fd, const char *name)
{
    if (unlinkat (parent_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    removal_t self = {.top_fd = open_directory (parent_fd, name)};
    if (self.top_fd < 0)
        return -errno;
    unsigned moved;
    do {
        moved = self.moved;
        self.failure = 0;
        int fd = openat (self.top_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            self.failure = errno;
        else
            empty (&self, fd, 0);
    } while (self.moved != moved);
    close (self.top_fd);
    if (unlinkat (parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    return self.failure ? -self.failure : -errno;
}

int rota_files_remove_path (const char *path)
{
    return rota_files_remove (AT_FDCWD, path);
}

/* ---- writing */

static int fill (int fd, const char *bytes, size_t size)
{
    while (size) {
        ssize_t part = write (fd, bytes, size);
        if (part < 0 && errno != EINTR)
            return -errno;
        bytes += part > 0 ? part : 0;
        size -= part > 0 ? (size_t)part : 0;
    }
    return 0;
}

static int write_new (const char *path, const void *bytes, size_t size, bool sync, rota_error_t *error)
{
    int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int status = fd < 0 ? -errno : fill (fd, bytes, size);
    if (status == 0 && sync && fsync (fd) < 0)
        status = -errno;
    if (fd >= 0 && close (fd) < 0 && status == 0)
        status = -errno;
    return status < 0 ? rota_error_set (error, status, "%s: %s", path, strerror (-status)) : 0;
}

int rota_files_write (const char *path, const void *bytes, size_t size_bytes, rota_error_t *error)
{
    int status = rota_files_remove_path (path);
    if (status < 0)
        return rota_error_set (error, status, "%s: %s", path, strerror (-status));
    return write_new (path, bytes, size_bytes, false, error);
}

int rota_files_replace (const char *path, const void *bytes, size_t size_bytes, rota_error_t *error)
{
    char beside[PATH_MAX];
    if (snprintf (beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
        return rota_error_set (error, -ENAMETOOLONG, "%s: too long a path", path);
    int status = rota_files_remove_path (beside);
    if (status == 0)
        status = write_new (beside, bytes, size_bytes, true, error);
    if (status == 0 && rename (beside, path) < 0)
        status = rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    return status;
}

int rota_files_make_directory (const char *path, rota_error_t *error)
{
    if (mkdir (path, 0700) == 0 || errno == EEXIST)
        return 0;
    return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
}

int rota_files_make_directories (const char *path, rota_error_t *error)
{
    char copy[PATH_MAX];
    if (snprintf (copy, sizeof copy, "%s", path) >= (int)sizeof copy)
        return rota_error_set (error, -ENAMETOOLONG, "%s: too long a path", path);
    for (char *slash = strchr (copy + 1, '/'); slash; slash = strchr (slash + 1, '/')) {
        *slash = '\0';
        int status = rota_files_make_directory (copy, error);
        if (status < 0)
            return status;
        *slash = '/';
    }
    return rota_files_make_directory (copy, error);
}

int rota_files_copy (const char *from, const char *to, rota_error_t *error)
{
    static char bytes[COPY_BYTES];
    int in = open (from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in < 0)
        return rota_error_set (error, -errno, "%s: %s", from, strerror (errno));
    int status = rota_files_write (to, "", 0, error);
    int out = status < 0 ? -1 : open (to, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t size = out < 0 ? 0 : 1;
    while (size > 0 && (size = read (in, bytes, sizeof bytes)) > 0)
        if ((status = fill (out, bytes, (size_t)size)) < 0)
            break;
    if (out >= 0)
        close (out);
    close (in);
    return status == 0 && size < 0 ? rota_error_set (error, -EIO, "%s can't be read", from) : status;
}

bool rota_files_is_directory (const char *path)
{
    struct stat info;
    return lstat (path, &info) == 0 && S_ISDIR (info.st_mode);
}

bool rota_files_is_there (const char *path)
{
    struct stat info;
    return lstat (path, &info) == 0;
}
