#include "agents/repository_move.h"

#include "agents/workspace.h"
#include "bus/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME "rota.lock"
#define LOCK_WAIT_MS 60000
#define POLL_MS 20
#define JOURNAL_BYTES 4096
#define EMPTY_LOCK_AGE_MS 2000 /* git writes what it locked within microseconds */
#define OTHERS_MS 5000         /* for another git that has the ref right now */
#define NOTHING "0000000000000000000000000000000000000000000000000000000000000000"

static bool is_ours (const char *ref)
{
    static const char *const PREFIXES[] = {"refs/heads/" ROTA_INTEGRATION_PREFIX,
                                           "refs/heads/" ROTA_WORK_PREFIX, "refs/rota/"};
    for (size_t i = 0; i < sizeof PREFIXES / sizeof *PREFIXES; i++)
        if (strncmp (ref, PREFIXES[i], strlen (PREFIXES[i])) == 0)
            return !strstr (ref, "..") && !strchr (ref, ' ');
    return false;
}

/* The lock file of a ref that a dead git of ours was about to move to `oid`: it has that in it, or nothing
 * yet. */
static void remove_leftover (const char *common_dir, const char *ref, const char *oid)
{
    char path[PATH_MAX], text[ROTA_GIT_OID_BYTES + 2];
    struct stat info;
    if (snprintf (path, sizeof path, "%s/%s.lock", common_dir, ref) >= (int)sizeof path)
        return;
    for (int64_t end = rota_clock_monotonic_ms () + 2 * EMPTY_LOCK_AGE_MS;;) {
        int fd = open (path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
            return;
        ssize_t size =
            fstat (fd, &info) == 0 && S_ISREG (info.st_mode) ? read (fd, text, sizeof text - 1) : -1;
        close (fd);
        if (size < 0)
            return;
        text[size] = '\0';
        text[strcspn (text, "\n")] = '\0';
        int64_t age_ms = rota_clock_wall_ms () - (int64_t)info.st_mtim.tv_sec * 1000;
        if (strcmp (text, oid) == 0 || (size == 0 && age_ms >= EMPTY_LOCK_AGE_MS)) {
            unlink (path);
            return;
        }
        if (size > 0 || rota_clock_monotonic_ms () >= end)
            return;
        poll (NULL, 0, POLL_MS);
    }
}

/* Lines "REF OID" of whoever had the lock before and didn't come to the end. */
static void clean_up (const rota_repository_t *self, int fd)
{
    char text[JOURNAL_BYTES], *rest = text, *line;
    ssize_t size = pread (fd, text, sizeof text - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    while ((line = strsep (&rest, "\n"))) {
        char *oid = strchr (line, ' ');
        if (!oid)
            continue;
        *oid++ = '\0';
        if (is_ours (line) && rota_git_is_oid (oid))
            remove_leftover (self->common_dir, line, oid);
    }
}

static int lock (const rota_repository_t *self, int *ret_fd, rota_error_t *error)
{
    char path[PATH_MAX];
    snprintf (path, sizeof path, "%s/" LOCK_NAME, self->common_dir);
    int fd = open (path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    for (int64_t end = rota_clock_monotonic_ms () + LOCK_WAIT_MS; flock (fd, LOCK_EX | LOCK_NB) < 0;) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            int code = errno;
            close (fd);
            return rota_error_set (error, -code, "%s: %s", path, strerror (code));
        }
        if (rota_clock_monotonic_ms () >= end) {
            close (fd);
            return rota_error_set (error, -EBUSY, "%s is locked by another rota", path);
        }
        poll (NULL, 0, POLL_MS);
    }
    clean_up (self, fd);
    *ret_fd = fd;
    return 0;
}

static int write_journal (int fd, const rota_move_t *moves, size_t count, rota_error_t *error)
{
    char text[JOURNAL_BYTES];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        int size = snprintf (text + used, sizeof text - used, "%s %s\n", moves[i].ref, moves[i].to);
        if (size < 0 || (size_t)size >= sizeof text - used)
            return rota_error_set (error, -ENAMETOOLONG, "%s: too long a name", moves[i].ref);
        used += (size_t)size;
    }
    if (ftruncate (fd, 0) < 0 || pwrite (fd, text, used, 0) != (ssize_t)used)
        return rota_error_set (error, -EIO, LOCK_NAME " can't be written");
    return 0;
}

static int move_one (const rota_repository_t *self, const rota_move_t *move, int lock_fd, rota_error_t *error)
{
    const rota_git_t git = {.environment = self->environment, .git_dir = self->common_dir};
    char now[ROTA_GIT_OID_BYTES], nothing[ROTA_GIT_OID_BYTES];
    snprintf (nothing, sizeof nothing, "%.*s", (int)strlen (move->to), NOTHING);
    for (int64_t end = rota_clock_monotonic_ms () + OTHERS_MS;;) {
        int code = 0;
        const rota_git_call_t call = {.exit_code = &code, .held_fd = lock_fd};
        int status =
            rota_git (&git, &call, error, "update-ref", "--no-deref", "-m", "rota", move->ref, move->to,
                      !move->from   ? NULL
                      : *move->from ? move->from
                                    : nothing,
                      NULL);
        if (status < 0 || code == 0)
            return status;
        status = rota_repository_read (self, move->ref, now, NULL);
        if (status == 0 && move->from && strcmp (now, move->from) != 0)
            return rota_error_set (error, -EAGAIN, "%s was moved meanwhile", move->ref);
        /* Another git may have it for a moment; one that was killed keeps it for ever. */
        if (!strstr (error->text, "File exists") || rota_clock_monotonic_ms () >= end)
            return -EBUSY;
        poll (NULL, 0, POLL_MS);
    }
}

int rota_repository_move (const rota_repository_t *self, const rota_move_t *moves, size_t count,
                          rota_error_t *error)
{
    rota_error_t words = {""};
    int fd = -1, status = lock (self, &fd, &words);
    /* Looked at before anything is written: the mark must not run ahead of a branch that can't follow. */
    for (size_t i = 0; i < count && status == 0; i++) {
        char now[ROTA_GIT_OID_BYTES];
        status = moves[i].from ? rota_repository_read (self, moves[i].ref, now, &words) : 0;
        if (status == 0 && moves[i].from && strcmp (now, moves[i].from) != 0)
            status = rota_error_set (&words, -EAGAIN, "%s was moved meanwhile", moves[i].ref);
    }
    if (status == 0)
        status = write_journal (fd, moves, count, &words);
    for (size_t i = 0; i < count && status == 0; i++)
        status = move_one (self, &moves[i], fd, &words);
    if (fd >= 0) {
        if (ftruncate (fd, 0) < 0 && status == 0)
            status = rota_error_set (&words, -errno, LOCK_NAME ": %s", strerror (errno));
        close (fd);
    }
    return status < 0 ? rota_error_set (error, status, "%s", words.text) : 0;
}
