#include "agents/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One line: STORE EPOCH, in hex and decimal. */
#define NAME "scheduler"
#define LINE_MAX_BYTES 80

rota_fence_verdict_t rota_fence_judge (const rota_fence_t *self, const rota_envelope_t *envelope)
{
    if (!envelope->has_store || envelope->scheduler_epoch == 0)
        return ROTA_FENCE_STALE;
    if (!self->known || memcmp (self->store, envelope->store, sizeof self->store) != 0)
        return ROTA_FENCE_NEW_STORE;
    if (envelope->scheduler_epoch < self->epoch)
        return ROTA_FENCE_STALE;
    return envelope->scheduler_epoch > self->epoch ? ROTA_FENCE_RAISED : ROTA_FENCE_SAME;
}

static int write_synced (const char *path, const char *text)
{
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    size_t size = strlen (text);
    int status = write (fd, text, size) == (ssize_t)size && fsync (fd) == 0 ? 0 : -EIO;
    close (fd);
    return status;
}

int rota_fence_raise (rota_fence_t *self, const rota_envelope_t *envelope, const char *directory)
{
    char line[LINE_MAX_BYTES], path[PATH_MAX], draft[PATH_MAX];
    size_t used = 0;

    self->known = true;
    self->epoch = envelope->scheduler_epoch;
    memcpy (self->store, envelope->store, sizeof self->store);
    for (size_t i = 0; i < sizeof self->store; i++)
        used += (size_t)snprintf (line + used, sizeof line - used, "%02x", self->store[i]);
    snprintf (line + used, sizeof line - used, " %" PRIu64 "\n", self->epoch);
    if (snprintf (path, sizeof path, "%s/" NAME, directory) >= (int)sizeof path ||
        snprintf (draft, sizeof draft, "%s/" NAME ".new", directory) >= (int)sizeof draft)
        return -ENAMETOOLONG;
    int status = write_synced (draft, line);
    return status == 0 && rename (draft, path) < 0 ? -errno : status;
}

void rota_fence_load (rota_fence_t *ret_fence, const char *directory)
{
    rota_fence_t fence = {.known = true};
    char path[PATH_MAX], line[LINE_MAX_BYTES] = "";

    memset (ret_fence, 0, sizeof *ret_fence);
    if (snprintf (path, sizeof path, "%s/" NAME, directory) >= (int)sizeof path)
        return;
    FILE *file = fopen (path, "re");
    if (!file)
        return;
    bool read = fgets (line, sizeof line, file) != NULL;
    fclose (file);
    char *at = line, *end;
    for (size_t i = 0; i < sizeof fence.store && read; i++, at += 2) {
        const char digits[3] = {at[0], at[0] ? at[1] : '\0', '\0'};
        fence.store[i] = (uint8_t)strtoul (digits, &end, 16);
        read = end == digits + 2;
    }
    if (!read || *at != ' ')
        return;
    fence.epoch = strtoull (at + 1, &end, 10);
    if (fence.epoch > 0 && *end == '\n')
        *ret_fence = fence;
}
