#include "broker/election.h"
#include "bus/clock.h"
#include "bus/role_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    rota_election_t base;
    rota_role_lock_t *lock;
    char state_dir[PATH_MAX];
    bool leads;
    uint64_t epoch;
} local_t;

int rota_election_step (rota_election_t *self, int64_t boot_ms, rota_election_state_t *ret_state,
                        int64_t *ret_again_ms, rota_error_t *error)
{
    return self->ops->step (self, boot_ms, ret_state, ret_again_ms, error);
}

int rota_election_descriptor (const rota_election_t *self)
{
    return self->ops->descriptor (self);
}

const char *rota_election_news (rota_election_t *self)
{
    return self->ops->news (self);
}

void rota_election_destroy (rota_election_t **self_p)
{
    if (*self_p)
        (*self_p)->ops->destroy (*self_p);
    *self_p = NULL;
}

/* ---- the epoch */

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
    ssize_t written = write (fd, line, strlen (line));
    if (written != (ssize_t)strlen (line))
        result = written < 0 ? -errno : -ENOSPC;
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

static int raise_epoch (local_t *self, rota_error_t *error)
{
    char path[PATH_MAX];
    uint64_t epoch = 0;
    if (snprintf (path, sizeof path, "%s/broker.epoch", self->state_dir) >= (int)sizeof path)
        return rota_error_set (error, -ENAMETOOLONG, "the state directory's path is too long");
    int result = read_epoch (path, &epoch, error);
    if (result == 0)
        result = write_epoch (self->state_dir, path, epoch + 1, error);
    if (result < 0)
        return result;
    self->epoch = epoch + 1;
    self->leads = true;
    return 0;
}

/* ---- leading and standing by */

static int local_step (void *owner, int64_t boot_ms, rota_election_state_t *ret_state, int64_t *ret_again_ms,
                       rota_error_t *error)
{
    local_t *self = owner;
    int64_t now_ms = rota_clock_monotonic_ms (), again_ms;
    int held = rota_role_lock_step (self->lock, now_ms, &again_ms, error);
    int result = held < 0 ? held : 0;
    if (held == 1 && !self->leads)
        result = raise_epoch (self, error);
    *ret_again_ms = boot_ms + (again_ms - now_ms);
    ret_state->leads = result == 0 && self->leads;
    ret_state->cluster = 0;
    ret_state->epoch = self->epoch;
    ret_state->until_ms = INT64_MAX; /* who stands by ends a leader before it takes over */
    const char *note = rota_role_lock_holder (self->lock)->note;
    memcpy (ret_state->leader, note, strlen (note) + 1);
    return result;
}

static int local_descriptor (const void *self)
{
    return rota_role_lock_fd (((const local_t *)self)->lock);
}

static const char *local_news (void *self)
{
    return rota_role_lock_news (((local_t *)self)->lock);
}

static void local_destroy (void *owner)
{
    local_t *self = owner;
    rota_role_lock_destroy (&self->lock);
    free (self);
}

static const rota_election_ops_t LOCAL_OPS = {
    .name = "local",
    .shares_directory = true,
    .step = local_step,
    .descriptor = local_descriptor,
    .news = local_news,
    .destroy = local_destroy,
};

int rota_election_local_new (const rota_election_local_t *config, rota_election_t **ret_election,
                             rota_error_t *error)
{
    char path[PATH_MAX];
    local_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "out of memory");
    self->base.ops = &LOCAL_OPS;
    rota_role_lock_config_t lock = {
        .path = path, .role = "broker", .note = config->address, .dead_after_ms = config->dead_after_ms};
    int result = 0;
    if (snprintf (path, sizeof path, "%s/broker.lock", config->state_dir) >= (int)sizeof path)
        result = rota_error_set (error, -ENAMETOOLONG, "the state directory's path is too long");
    snprintf (self->state_dir, sizeof self->state_dir, "%s", config->state_dir);
    if (result == 0)
        result = rota_role_lock_new (&lock, &self->lock, error);
    if (result == 0 && !config->stand_by)
        result = rota_role_lock_try (self->lock, error);
    if (result == 0 && !config->stand_by)
        result = raise_epoch (self, error);
    if (result < 0) {
        local_destroy (self);
        return result;
    }
    *ret_election = &self->base;
    return 0;
}
