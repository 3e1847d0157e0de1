#include "cli/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME "supervisor.lock"

/* `directory`/`name`; NULL on no memory. */
static char *join (const char *directory, const char *name)
{
    char *path = NULL;
    bool root = strcmp (directory, "/") == 0;
    return asprintf (&path, "%s/%s", root ? "" : directory, name) < 0 ? NULL : path;
}

/* Cuts the last part off; false at the root. */
static bool up (char *path)
{
    char *slash = strrchr (path, '/');
    if (!slash || strcmp (path, "/") == 0)
        return false;
    slash[slash == path] = '\0';
    return true;
}

static int check_owner (const char *path, const struct stat *info, rota_error_t *error)
{
    if (!S_ISDIR (info->st_mode))
        return rota_error_set (error, -ENOTDIR, "%s is no directory; give another one with --state DIR",
                               path);
    if (info->st_uid != geteuid ())
        return rota_error_set (error, -EPERM,
                               "%s belongs to another user (uid %u); give your own with --state DIR", path,
                               info->st_uid);
    return 0;
}

/* A state directory at or above the current one: 0, or 1 when there is none. */
static int search (const char *from, char **ret_path, rota_error_t *error)
{
    char *directory = strdup (from);
    struct stat info;
    int status = directory ? 1 : -ENOMEM;

    while (status == 1) {
        char *path = join (directory, ROTA_STATE_NAME);
        if (!path) {
            status = -ENOMEM;
        } else if (stat (path, &info) == 0) {
            status = check_owner (path, &info, error);
            if (status == 0) {
                *ret_path = path;
                path = NULL;
            }
        }
        free (path);
        if (status == 1 && !up (directory))
            break;
    }
    free (directory);
    return status;
}

/* Where a new one belongs: the root of the repository, else the current directory. */
static char *place (const char *from)
{
    char *directory = strdup (from), *path = NULL;
    bool found = false;

    while (directory && !found) {
        char *git = join (directory, ".git");
        found = git && access (git, F_OK) == 0;
        free (git);
        if (!found && !up (directory))
            break;
    }
    path = join (found ? directory : from, ROTA_STATE_NAME);
    free (directory);
    return path;
}

/* What --state says, made absolute without asking that it exists: its parent must. */
static int resolve (const char *given, char **ret_path, rota_error_t *error)
{
    struct stat info;
    char *whole = realpath (given, NULL);
    if (whole) {
        int status = stat (whole, &info) == 0 ? check_owner (whole, &info, error) : -errno;
        if (status < 0) {
            free (whole);
            return status;
        }
        *ret_path = whole;
        return 0;
    }
    if (errno != ENOENT)
        return rota_error_set (error, -errno, "--state %s: %s", given, strerror (errno));

    char *copy = strdup (given);
    if (!copy)
        return -ENOMEM;
    for (size_t length = strlen (copy); length > 1 && copy[length - 1] == '/'; length--)
        copy[length - 1] = '\0';
    char *slash = strrchr (copy, '/');
    const char *name = slash ? slash + 1 : copy, *parent = !slash ? "." : slash == copy ? "/" : copy;
    if (slash && slash != copy)
        *slash = '\0';
    char *directory = realpath (parent, NULL);
    int status = directory ? 1 : rota_error_set (error, -errno, "--state: %s: %s", parent, strerror (errno));
    if (directory)
        *ret_path = join (directory, name);
    if (directory && !*ret_path)
        status = -ENOMEM;
    free (directory);
    free (copy);
    return status;
}

int rota_state_find (const char *given, char **ret_path, rota_error_t *error)
{
    char *from, *path = NULL;
    int status;

    if (given)
        return resolve (given, ret_path, error);
    from = getcwd (NULL, 0);
    if (!from)
        return rota_error_set (error, -errno, "the current directory: %s", strerror (errno));
    status = search (from, &path, error);
    if (status == 1) {
        path = place (from);
        if (!path)
            status = -ENOMEM;
    }
    free (from);
    if (status < 0)
        return status == -ENOMEM ? rota_error_set (error, status, "no memory") : status;
    *ret_path = path;
    return status;
}

static int make_directory (const char *path, rota_error_t *error)
{
    if (mkdir (path, 0700) == 0 || errno == EEXIST)
        return 0;
    return rota_error_set (error, -errno, "can't make %s: %s", path, strerror (errno));
}

int rota_state_make (const char *path, rota_error_t *error)
{
    static const char *const DIRECTORIES[] = {"", "logs", "logs/services"};
    struct stat info;
    int status = 0;

    for (size_t i = 0; i < sizeof DIRECTORIES / sizeof DIRECTORIES[0] && status == 0; i++) {
        char *directory = i == 0 ? strdup (path) : join (path, DIRECTORIES[i]);
        status = directory ? make_directory (directory, error) : -ENOMEM;
        free (directory);
    }
    if (status == 0 && stat (path, &info) == 0)
        status = check_owner (path, &info, error);
    if (status < 0)
        return status;

    char *ignore = join (path, ".gitignore");
    if (!ignore)
        return -ENOMEM;
    int fd = open (ignore, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        if (write (fd, "*\n", 2) != 2)
            status = rota_error_set (error, -EIO, "can't write %s", ignore);
        close (fd);
    } else if (errno != EEXIST) {
        status = rota_error_set (error, -errno, "can't write %s: %s", ignore, strerror (errno));
    }
    free (ignore);
    return status;
}

const char *rota_state_shown (const char *path, char *ret_text, size_t capacity)
{
    char *from = getcwd (NULL, 0);
    size_t length = from ? strlen (from) : 0;

    snprintf (ret_text, capacity, "%s", path);
    if (length > 1 && strncmp (path, from, length) == 0 && path[length] == '/')
        snprintf (ret_text, capacity, "%s", path + length + 1);
    free (from);
    return ret_text;
}

static const char *const SERVICES[] = {"run", "up", "hold"};

const char *rota_services_name (rota_services_t services)
{
    return SERVICES[services];
}

int rota_services_parse (const char *name, rota_services_t *ret_services)
{
    for (size_t i = 0; i < sizeof SERVICES / sizeof SERVICES[0]; i++)
        if (strcmp (name, SERVICES[i]) == 0) {
            *ret_services = (rota_services_t)i;
            return 0;
        }
    return -EINVAL;
}

uint64_t rota_process_start_time (pid_t pid)
{
    char path[64], text[1024];
    uint64_t start_time = 0;

    snprintf (path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen (path, "re");
    if (!file)
        return 0;
    size_t length = fread (text, 1, sizeof text - 1, file);
    fclose (file);
    text[length] = '\0';
    /* The second field is the program's name in parentheses and may hold anything; the 22nd is wanted. */
    char *field = strrchr (text, ')');
    for (int i = 2; field && i < 22; i++) {
        field = strchr (field + 1, ' ');
    }
    if (field)
        start_time = strtoull (field + 1, NULL, 10);
    return start_time;
}

int rota_state_lock (const char *path, rota_services_t services, int *ret_fd, rota_error_t *error)
{
    char text[96], *name = join (path, LOCK_NAME);
    int fd, status = 0;

    if (!name)
        return -ENOMEM;
    fd = open (name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        status = rota_error_set (error, -errno, "can't open %s: %s", name, strerror (errno));
    else if (fcntl (fd, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET}) != 0)
        status = errno == EAGAIN || errno == EACCES
                     ? rota_error_set (error, -EBUSY, "another supervisor holds %s", name)
                     : rota_error_set (error, -errno, "can't lock %s: %s", name, strerror (errno));
    int length = snprintf (text, sizeof text, "%d %" PRIu64 " %s\n", getpid (),
                           rota_process_start_time (getpid ()), rota_services_name (services));
    if (status == 0 && (ftruncate (fd, 0) != 0 || pwrite (fd, text, (size_t)length, 0) != length))
        status = rota_error_set (error, -EIO, "can't write %s", name);
    free (name);
    if (status < 0) {
        if (fd >= 0)
            close (fd);
        return status;
    }
    *ret_fd = fd;
    return 0;
}

/* "PID START SERVICES\n"; false when it is not all there. */
static bool read_holder (char *text, rota_holder_t *ret_holder)
{
    char *end = strchr (text, '\n'), *start, *word;
    if (!end)
        return false;
    *end = '\0';
    ret_holder->pid = (pid_t)strtol (text, &start, 10);
    ret_holder->start_time = strtoull (start, &word, 10);
    return ret_holder->pid > 0 && *word == ' ' && rota_services_parse (word + 1, &ret_holder->services) == 0;
}

int rota_state_holder (const char *path, rota_holder_t *ret_holder)
{
    rota_holder_t holder = {0};
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char text[96], *name = join (path, LOCK_NAME);
    int fd;

    if (!name)
        return -ENOMEM;
    fd = open (name, O_RDONLY | O_CLOEXEC);
    free (name);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    bool held = fcntl (fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    ssize_t length = held ? pread (fd, text, sizeof text - 1, 0) : 0;
    close (fd);
    if (!held)
        return 0;
    text[length > 0 ? length : 0] = '\0';
    if (!read_holder (text, &holder) || rota_process_start_time (holder.pid) != holder.start_time)
        holder = (rota_holder_t){0};
    *ret_holder = holder;
    return 1;
}
