#include "bus/role_lock.h"

#include "bus/clock.h"
#include "bus/names.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The file: "PID SINCE INCARNATION START\nNOTE\nMARK ALLOWANCE\n". The last line has a fixed length and is
 * written over in place. */
#define FILE_MAX_BYTES (ROTA_ROLE_NOTE_MAX_BYTES + 256)
#define LOOK_MS 200
/* A look that comes later than that says nothing about the time in between: it was us who stood still. */
#define LOOK_LATE_MS 1000
/* For a holder that has ended, and whose lock the kernel is about to let go. */
#define GONE_LOOK_MS 10
#define GONE_LOOKS 100

struct rota_role_lock {
    char path[PATH_MAX];
    const char *role;
    char note[ROTA_ROLE_NOTE_MAX_BYTES];
    int64_t dead_after_ms;
    int fd;
    bool held;
    char news[ROTA_ROLE_NEWS_MAX_BYTES], told[ROTA_ROLE_NEWS_MAX_BYTES];

    /* held */
    off_t mark_at;
    uint64_t mark;
    int64_t allowance_ms;
    int64_t marked_ms;

    /* standing by */
    rota_role_holder_t holder;
    int pid_fd;
    uint64_t seen_mark;
    int64_t seen_allowance_ms;
    int64_t looked_ms, look_again_ms;
    int gone_looks;   /* left, at short intervals, after the holder's end */
    int64_t still_ms; /* for so long the mark has not changed under our eyes */
    bool ended;       /* the holder was sent SIGKILL */
};

/* ---- processes */

/* Field 22 of /proc/PID/stat; 0 when there is no such process. The name in field 2 may hold anything. */
static uint64_t start_time_of (pid_t pid)
{
    char path[64], text[1024];
    snprintf (path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t size = read (fd, text, sizeof text - 1);
    close (fd);
    text[size > 0 ? size : 0] = '\0';
    const char *at = strrchr (text, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr (at + 1, ' ');
    return at ? strtoull (at, NULL, 10) : 0;
}

/* The process that the record names, and no other that got its number later. -1 when there is none. */
static int open_process (const rota_role_holder_t *holder)
{
    if (holder->pid <= 0 || holder->start_time == 0 || holder->pid == getpid ())
        return -1;
    int fd = (int)syscall (SYS_pidfd_open, holder->pid, 0);
    if (fd >= 0 && start_time_of (holder->pid) != holder->start_time) {
        close (fd);
        fd = -1;
    }
    return fd;
}

/* ---- the file */

static int open_file (rota_role_lock_t *self, rota_error_t *error)
{
    self->fd = open (self->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return self->fd < 0 ? rota_error_set (error, -errno, "%s: %s", self->path, strerror (errno)) : 0;
}

/* Whether the name still leads to the file that is open. */
static bool is_same_file (const rota_role_lock_t *self)
{
    struct stat ours, there;
    return fstat (self->fd, &ours) == 0 && stat (self->path, &there) == 0 && ours.st_ino == there.st_ino &&
           ours.st_dev == there.st_dev;
}

static int write_mark (rota_role_lock_t *self)
{
    char line[64];
    int length =
        snprintf (line, sizeof line, "%020" PRIu64 " %010" PRId64 "\n", self->mark, self->allowance_ms);
    ssize_t written = pwrite (self->fd, line, (size_t)length, self->mark_at);
    return written == length ? 0 : written < 0 ? -errno : -ENOSPC;
}

/* In one write, so that a reader finds the old record or the new one. */
static int write_record (rota_role_lock_t *self)
{
    uint8_t incarnation[ROTA_INSTANCE_BYTES];
    char since[ROTA_CLOCK_ISO_BYTES], hex[2 * ROTA_INSTANCE_BYTES + 1], text[FILE_MAX_BYTES];

    rota_instance_new (incarnation);
    rota_clock_iso (rota_clock_wall_ms (), since);
    for (size_t i = 0; i < ROTA_INSTANCE_BYTES; i++)
        snprintf (hex + 2 * i, 3, "%02x", incarnation[i]);
    self->mark_at = snprintf (text, sizeof text, "%ld %s %s %" PRIu64 "\n%s\n", (long)getpid (), since, hex,
                              start_time_of (getpid ()), self->note);
    self->mark = 1;
    self->allowance_ms = 0;
    int length =
        (int)self->mark_at + snprintf (text + self->mark_at, sizeof text - (size_t)self->mark_at,
                                       "%020" PRIu64 " %010" PRId64 "\n", self->mark, self->allowance_ms);
    ssize_t written = pwrite (self->fd, text, (size_t)length, 0);
    if (written != length)
        return written < 0 ? -errno : -ENOSPC;
    return ftruncate (self->fd, length) < 0 ? -errno : 0;
}

static void take_word (const char *from, size_t length, char *ret_text, size_t capacity)
{
    if (length >= capacity)
        length = 0;
    memcpy (ret_text, from, length);
    ret_text[length] = '\0';
}

/* A file that isn't as we write it (being written just now, or somebody else's) leaves the holder unknown. */
static void read_record (const rota_role_lock_t *self, rota_role_holder_t *ret_holder, uint64_t *ret_mark,
                         int64_t *ret_allowance_ms)
{
    char text[FILE_MAX_BYTES] = "";
    rota_role_holder_t holder = {.pid = 0};
    ssize_t size = pread (self->fd, text, sizeof text - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    char *note = strchr (text, '\n'), *mark = note ? strchr (note + 1, '\n') : NULL, *end;

    *ret_holder = holder;
    *ret_mark = 0;
    *ret_allowance_ms = 0;
    long pid = strtol (text, &end, 10);
    if (!mark || pid <= 0 || pid > INT_MAX || *end != ' ')
        return;
    char *since = end + 1, *incarnation = strchr (since, ' ');
    char *start = incarnation ? strchr (incarnation + 1, ' ') : NULL;
    if (!start || start > note)
        return;
    holder.pid = (pid_t)pid;
    take_word (since, (size_t)(incarnation - since), holder.since, sizeof holder.since);
    take_word (incarnation + 1, (size_t)(start - incarnation - 1), holder.incarnation,
               sizeof holder.incarnation);
    holder.start_time = strtoull (start + 1, NULL, 10);
    take_word (note + 1, (size_t)(mark - note - 1), holder.note, sizeof holder.note);
    *ret_mark = strtoull (mark + 1, &end, 10);
    *ret_allowance_ms = strtoll (end, NULL, 10);
    if (rota_text_is_valid (holder.since, strlen (holder.since), false) &&
        rota_text_is_valid (holder.note, strlen (holder.note), false))
        *ret_holder = holder;
}

/* ---- life */

int rota_role_lock_new (const rota_role_lock_config_t *config, rota_role_lock_t **ret_lock,
                        rota_error_t *error)
{
    const char *note = config->note ? config->note : "";
    rota_role_lock_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "out of memory");
    self->fd = self->pid_fd = -1;
    self->role = config->role;
    self->dead_after_ms = config->dead_after_ms;
    int result = 0;
    if (snprintf (self->path, sizeof self->path, "%s", config->path) >= (int)sizeof self->path ||
        snprintf (self->note, sizeof self->note, "%s", note) >= (int)sizeof self->note ||
        !rota_text_is_valid (note, strlen (note), false))
        result =
            rota_error_set (error, -EINVAL, "%s: its path or note is too long, or no text", config->role);
    if (result == 0)
        result = open_file (self, error);
    if (result < 0) {
        rota_role_lock_destroy (&self);
        return result;
    }
    *ret_lock = self;
    return 0;
}

void rota_role_lock_destroy (rota_role_lock_t **self_p)
{
    rota_role_lock_t *self = *self_p;
    if (!self)
        return;
    if (self->pid_fd >= 0)
        close (self->pid_fd);
    if (self->fd >= 0)
        close (self->fd);
    free (self);
    *self_p = NULL;
}

/* ---- taking */

/* 1: taken; 0: another has it; negative: errno. */
static int lock_file (rota_role_lock_t *self, rota_error_t *error)
{
    for (int attempt = 0; attempt < 3; attempt++) {
        if (flock (self->fd, LOCK_EX | LOCK_NB) < 0)
            return errno == EWOULDBLOCK
                       ? 0
                       : rota_error_set (error, -errno, "%s: %s", self->path, strerror (errno));
        if (is_same_file (self))
            return 1;
        close (self->fd);
        int result = open_file (self, error);
        if (result < 0)
            return result;
    }
    return rota_error_set (error, -EAGAIN, "%s is removed again and again", self->path);
}

static void forget_holder (rota_role_lock_t *self)
{
    if (self->pid_fd >= 0)
        close (self->pid_fd);
    self->pid_fd = -1;
    self->holder = (rota_role_holder_t){.pid = 0};
    self->still_ms = 0;
    self->gone_looks = 0;
    self->ended = false;
}

/* 1: held; 0: another has it; negative: errno. */
static int take (rota_role_lock_t *self, int64_t now_ms, rota_error_t *error)
{
    bool stood_by = self->looked_ms != 0;
    int result = lock_file (self, error);
    if (result <= 0)
        return result;
    result = write_record (self);
    if (result < 0) {
        flock (self->fd, LOCK_UN);
        return rota_error_set (error, result, "%s: %s", self->path, strerror (-result));
    }
    if (stood_by)
        snprintf (self->news, sizeof self->news, "takes over as %s%s", self->role,
                  self->ended ? " from one that hung and was ended" : "");
    forget_holder (self);
    self->held = true;
    self->marked_ms = now_ms;
    return 1;
}

static int say_who_holds (const rota_role_lock_t *self, rota_error_t *error)
{
    rota_role_holder_t holder;
    uint64_t mark;
    int64_t allowance_ms;
    read_record (self, &holder, &mark, &allowance_ms);
    if (holder.pid > 0)
        return rota_error_set (error, -EBUSY, "another %s (pid %ld since %s) serves this state directory",
                               self->role, (long)holder.pid, holder.since);
    return rota_error_set (error, -EBUSY, "another %s serves this state directory", self->role);
}

int rota_role_lock_try (rota_role_lock_t *self, rota_error_t *error)
{
    if (self->held)
        return 0;
    int result = take (self, rota_clock_monotonic_ms (), error);
    return result == 0 ? say_who_holds (self, error) : result < 0 ? result : 0;
}

/* ---- holding */

static int mark (rota_role_lock_t *self, int64_t now_ms, int64_t *ret_again_ms, rota_error_t *error)
{
    *ret_again_ms = self->marked_ms + ROTA_ROLE_MARK_MS;
    if (now_ms < *ret_again_ms)
        return 1;
    if (!is_same_file (self))
        return rota_error_set (error, -ESTALE, "%s was removed or replaced: another %s may be at work",
                               self->path, self->role);
    self->mark++;
    self->marked_ms = now_ms;
    *ret_again_ms = now_ms + ROTA_ROLE_MARK_MS;
    /* A full disk doesn't hinder writing over what is there; whatever does is no reason to end. */
    write_mark (self);
    return 1;
}

void rota_role_lock_allow (rota_role_lock_t *self, int64_t extra_ms)
{
    if (!self->held)
        return;
    self->allowance_ms = extra_ms;
    self->mark++;
    write_mark (self);
}

/* ---- standing by */

static void look (rota_role_lock_t *self, int64_t now_ms)
{
    rota_role_holder_t holder;
    uint64_t seen;
    int64_t allowance_ms, since_look_ms = now_ms - self->looked_ms;

    read_record (self, &holder, &seen, &allowance_ms);
    bool first = self->looked_ms == 0;
    bool other =
        first || holder.pid != self->holder.pid || strcmp (holder.incarnation, self->holder.incarnation) != 0;
    self->looked_ms = now_ms;
    if (other) {
        forget_holder (self);
        self->holder = holder;
        self->pid_fd = open_process (&holder);
        if (holder.pid > 0)
            snprintf (self->news, sizeof self->news,
                      "stands by: another %s (pid %ld since %s) serves this state directory", self->role,
                      (long)holder.pid, holder.since);
        else if (first)
            snprintf (self->news, sizeof self->news,
                      "stands by: another %s serves this state directory, and doesn't say which", self->role);
    } else if (seen == self->seen_mark && since_look_ms <= LOOK_LATE_MS) {
        self->still_ms += since_look_ms;
    } else {
        self->still_ms = 0;
        self->ended = false;
    }
    self->seen_mark = seen;
    self->seen_allowance_ms = allowance_ms < 0 ? 0 : allowance_ms;
}

static bool hangs (const rota_role_lock_t *self)
{
    return self->dead_after_ms > 0 && self->still_ms >= self->dead_after_ms + self->seen_allowance_ms;
}

/* Only the process whose standing still was watched can be hit: the pidfd was opened when that began. */
static void end_holder (rota_role_lock_t *self)
{
    char still[ROTA_CLOCK_DURATION_BYTES];
    rota_clock_duration (self->still_ms, still);
    const char *outcome = "is ended";
    if (self->pid_fd < 0)
        outcome = "can't be found from here, end it by hand";
    else if (syscall (SYS_pidfd_send_signal, self->pid_fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
        outcome = errno == EPERM ? "may not be ended by this user, end it by hand" : "can't be ended";
    self->ended = true;
    snprintf (self->news, sizeof self->news,
              "the %s that serves (pid %ld) has made no progress for %s: it %s", self->role,
              (long)self->holder.pid, still, outcome);
}

/* From its end until the kernel has let go of its lock there is nothing to wait on but time. */
static bool has_ended (const rota_role_lock_t *self)
{
    struct pollfd item = {.fd = self->pid_fd, .events = POLLIN};
    return self->pid_fd >= 0 && poll (&item, 1, 0) == 1;
}

int rota_role_lock_step (rota_role_lock_t *self, int64_t now_ms, int64_t *ret_again_ms, rota_error_t *error)
{
    if (self->held)
        return mark (self, now_ms, ret_again_ms, error);
    *ret_again_ms = self->look_again_ms;
    if (self->looked_ms != 0 && now_ms < self->look_again_ms && !has_ended (self))
        return 0;
    int result = take (self, now_ms, error);
    if (result != 0)
        return result < 0 ? result : mark (self, now_ms, ret_again_ms, error);
    look (self, now_ms);
    if (hangs (self) && !self->ended)
        end_holder (self);
    if (has_ended (self)) { /* readable for ever: no use in a poll */
        close (self->pid_fd);
        self->pid_fd = -1;
        self->gone_looks = GONE_LOOKS;
    }
    bool soon = self->gone_looks > 0;
    self->gone_looks -= soon;
    *ret_again_ms = self->look_again_ms = now_ms + (soon ? GONE_LOOK_MS : LOOK_MS);
    return 0;
}

bool rota_role_lock_is_held (const rota_role_lock_t *self)
{
    return self->held;
}

int rota_role_lock_fd (const rota_role_lock_t *self)
{
    return self->pid_fd;
}

const rota_role_holder_t *rota_role_lock_holder (const rota_role_lock_t *self)
{
    return &self->holder;
}

const char *rota_role_lock_news (rota_role_lock_t *self)
{
    if (!self->news[0])
        return NULL;
    memcpy (self->told, self->news, sizeof self->told);
    self->news[0] = '\0';
    return self->told;
}
