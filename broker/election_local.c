#include "broker/election.h"
#include "bus/clock.h"
#include "bus/names.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    rota_election_t base;
    int lock_fd;
    uint64_t epoch;
} local_t;

int rota_election_step (rota_election_t *self, int64_t boot_ms, rota_election_state_t *ret_state,
                        int64_t *ret_again_ms, rota_error_t *error)
{
    return self->ops->step (self, boot_ms, ret_state, ret_again_ms, error);
}

void rota_election_destroy (rota_election_t **self_p)
{
    if (*self_p)
        (*self_p)->ops->destroy (*self_p);
    *self_p = NULL;
}

static int local_step (void *self, int64_t boot_ms, rota_election_state_t *ret_state, int64_t *ret_again_ms,
                       rota_error_t *error)
{
    (void)boot_ms;
    (void)error;
    *ret_state = (rota_election_state_t){.leads = true, .epoch = ((local_t *)self)->epoch};
    *ret_again_ms = INT64_MAX;
    return 0;
}

/* The lock file stays: removing it would let a third broker lock a new file beside one that holds the old. */
static void local_destroy (void *self)
{
    local_t *local = self;
    if (local->lock_fd >= 0)
        close (local->lock_fd);
    free (local);
}

static const rota_election_ops_t LOCAL_OPS = {.name = "local", .step = local_step, .destroy = local_destroy};

static int write_all (int fd, const char *text)
{
    size_t size = strlen (text);
    ssize_t written = pwrite (fd, text, size, 0);
    if (written < 0)
        return -errno;
    return (size_t)written == size ? 0 : -ENOSPC;
}

/* What the holder wrote: "pid since incarnation". Only for the message. */
static int say_who_holds (int fd, rota_error_t *error)
{
    char text[256] = "", *since = text;
    ssize_t size = pread (fd, text, sizeof text - 1, 0);
    long pid = size > 0 ? strtol (text, &since, 10) : 0;
    since += strspn (since, " ");
    since[strcspn (since, " \n")] = 0;
    if (pid > 0 && since[0])
        return rota_error_set (error, -EBUSY, "another broker (pid %ld since %s) serves this state directory",
                               pid, since);
    return rota_error_set (error, -EBUSY, "another broker serves this state directory");
}

static int take_lock (local_t *self, const char *path, rota_error_t *error)
{
    self->lock_fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (self->lock_fd < 0)
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    if (flock (self->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return say_who_holds (self->lock_fd, error);
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    }

    uint8_t incarnation[ROTA_INSTANCE_BYTES];
    char since[ROTA_CLOCK_ISO_BYTES], line[128], hex[2 * ROTA_INSTANCE_BYTES + 1];
    rota_instance_new (incarnation);
    rota_clock_iso (rota_clock_wall_ms (), since);
    for (size_t i = 0; i < ROTA_INSTANCE_BYTES; i++)
        snprintf (hex + 2 * i, 3, "%02x", incarnation[i]);
    snprintf (line, sizeof line, "%ld %s %s\n", (long)getpid (), since, hex);
    int result = ftruncate (self->lock_fd, 0) < 0 ? -errno : write_all (self->lock_fd, line);
    if (result < 0)
        return rota_error_set (error, result, "%s: %s", path, strerror (-result));
    return 0;
}

/* A number too large is refused too: after it there is none left to raise to. */
static int read_epoch (const char *path, uint64_t *ret_epoch, rota_error_t *error)
{
    char text[64] = "";
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        *ret_epoch = 0;
        return 0;
    }
    if (fd < 0)
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    ssize_t size = read (fd, text, sizeof text - 1);
    close (fd);
    char *end = text;
    errno = 0;
    uintmax_t epoch = size > 0 && text[0] >= '0' && text[0] <= '9' ? strtoumax (text, &end, 10) : 0;
    if (end == text || *end != '\n' || errno == ERANGE || epoch >= INT64_MAX)
        return rota_error_set (error, -EUCLEAN, "%s doesn't hold a number; remove it to count from 1 again",
                               path);
    *ret_epoch = epoch;
    return 0;
}

/* Beside, synced, renamed, directory synced: a crash leaves the old number or the new one. */
static int write_epoch (const char *state_dir, const char *path, uint64_t epoch, rota_error_t *error)
{
    char beside[PATH_MAX], line[32];
    int result = 0;
    int directory = open (state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = -1;
    if (directory >= 0 && snprintf (beside, sizeof beside, "%s.new", path) < (int)sizeof beside)
        fd = open (beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        result = -errno;
        goto out;
    }
    snprintf (line, sizeof line, "%" PRIu64 "\n", epoch);
    result = write_all (fd, line);
    if (result == 0 && (fsync (fd) < 0 || rename (beside, path) < 0 || fsync (directory) < 0))
        result = -errno;
out:
    if (fd >= 0)
        close (fd);
    if (directory >= 0)
        close (directory);
    if (result < 0)
        return rota_error_set (error, result, "%s: %s", path, strerror (-result));
    return 0;
}

int rota_election_local_new (const char *state_dir, rota_election_t **ret_election, rota_error_t *error)
{
    char lock_path[PATH_MAX], epoch_path[PATH_MAX];
    if (snprintf (lock_path, sizeof lock_path, "%s/broker.lock", state_dir) >= (int)sizeof lock_path ||
        snprintf (epoch_path, sizeof epoch_path, "%s/broker.epoch", state_dir) >= (int)sizeof epoch_path)
        return rota_error_set (error, -ENAMETOOLONG, "the state directory's path is too long");

    local_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "out of memory");
    self->base.ops = &LOCAL_OPS;
    self->lock_fd = -1;

    int result = take_lock (self, lock_path, error);
    if (result == 0)
        result = read_epoch (epoch_path, &self->epoch, error);
    if (result == 0)
        result = write_epoch (state_dir, epoch_path, ++self->epoch, error);
    if (result < 0) {
        local_destroy (self);
        return result;
    }
    *ret_election = &self->base;
    return 0;
}
