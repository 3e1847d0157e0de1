#include "agents/spawner_process.h"

#include "agents/shim.h"
#include "agents/spawner.h"
#include "agents/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLEAR_EVERY_MS 50

typedef enum {
    SHIM_RUNS,
    SHIM_TO_CLEAR, /* it ended badly: its tree is the spawner's now */
    SHIM_ENDED,    /* the host is to be told */
} shim_state_t;

typedef struct {
    shim_state_t state;
    pid_t pid;
    rota_spawner_end_t end;
} shim_t;

typedef struct {
    int socket, signal_fd;
    shim_t *shims;
    size_t count, capacity;
} spawner_t;

static bool is_orphan (void *context, pid_t child)
{
    const spawner_t *self = context;
    for (size_t i = 0; i < self->count; i++)
        if (self->shims[i].pid == child && self->shims[i].state == SHIM_RUNS)
            return false;
    return true;
}

static shim_t *add (spawner_t *self, uint64_t launch)
{
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 16;
        shim_t *shims = realloc (self->shims, capacity * sizeof *shims);
        if (!shims)
            return NULL;
        self->shims = shims;
        self->capacity = capacity;
    }
    shim_t *shim = &self->shims[self->count++];
    *shim = (shim_t){.end = {.launch = launch}};
    return shim;
}

static void launch (spawner_t *self, uint64_t number, int control_fd, int attempt_fd)
{
    shim_t *shim = add (self, number);
    if (!shim) {
        rota_spawner_end_t end = {.launch = number, .error = -ENOMEM};
        send (self->socket, &end, sizeof end, MSG_NOSIGNAL);
        return;
    }
    shim->pid = fork ();
    if (shim->pid == 0)
        rota_shim_run (control_fd, attempt_fd);
    if (shim->pid < 0) {
        shim->end.error = -errno;
        shim->state = SHIM_ENDED;
    }
}

/* False at the end of the host. */
static bool take_request (spawner_t *self)
{
    rota_spawner_request_t request;
    union {
        char bytes[CMSG_SPACE (2 * sizeof (int))];
        struct cmsghdr align;
    } control;
    int fds[2] = {-1, -1};
    struct iovec part = {.iov_base = &request, .iov_len = sizeof request};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};

    ssize_t size = recvmsg (self->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0)
        return errno == EAGAIN || errno == EINTR;
    if (size == 0)
        return false;
    struct cmsghdr *header = CMSG_FIRSTHDR (&message);
    if (header && header->cmsg_type == SCM_RIGHTS)
        memcpy (fds, CMSG_DATA (header), header->cmsg_len - CMSG_LEN (0));
    /* A descriptor to keep is kept by not closing it. */
    if (size != (ssize_t)sizeof request || request.launch == 0)
        return true;
    launch (self, request.launch, fds[0], fds[1]);
    close (fds[0]);
    close (fds[1]);
    return true;
}

static void reap (spawner_t *self)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;
    while (read (self->signal_fd, &info, sizeof info) > 0)
        continue;
    while ((pid = waitpid (-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < self->count; i++) {
            shim_t *shim = &self->shims[i];
            if (shim->pid != pid || shim->state != SHIM_RUNS)
                continue;
            shim->end.status = status;
            bool proved = WIFEXITED (status) && WEXITSTATUS (status) <= ROTA_SHIM_TOLD;
            shim->state = proved ? SHIM_ENDED : SHIM_TO_CLEAR;
            break;
        }
    }
}

/* Ends what dead shims left. True when there is nothing of it. */
static bool clear_orphans (spawner_t *self)
{
    bool wanted = false;
    for (size_t i = 0; i < self->count; i++)
        wanted |= self->shims[i].state == SHIM_TO_CLEAR;
    if (!wanted)
        return true;
    if (rota_tree_kill (getpid (), is_orphan, self) > 0)
        return false;
    /* Nothing alive was found; what just died is still to be reaped, and its children, if it had any, have
     * come to us before it could be. */
    reap (self);
    rota_tree_t tree = {0};
    bool clear = rota_tree_collect (&tree, getpid (), is_orphan, self) == 0 && tree.count == 0;
    rota_tree_clear (&tree);
    for (size_t i = 0; i < self->count && clear; i++)
        if (self->shims[i].state == SHIM_TO_CLEAR)
            self->shims[i].state = SHIM_ENDED;
    return clear;
}

/* False when the host's queue is full: the rest waits. */
static bool tell (spawner_t *self)
{
    size_t kept = 0;
    bool room = true;
    for (size_t i = 0; i < self->count; i++) {
        const shim_t *shim = &self->shims[i];
        if (room && shim->state == SHIM_ENDED) {
            room = send (self->socket, &shim->end, sizeof shim->end, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
            if (room)
                continue;
        }
        self->shims[kept++] = *shim;
    }
    self->count = kept;
    return room;
}

_Noreturn void rota_spawner_process (int socket)
{
    spawner_t self = {.socket = dup3 (socket, 3, O_CLOEXEC)};
    sigset_t all, wanted;

    prctl (PR_SET_NAME, "rota-spawner");
    if (socket == 3)
        self.socket = 3;
    close_range (4, ~0u, 0);
    /* A terminal's Ctrl-C is for the host, which ends the shims in order. */
    setsid ();
    sigfillset (&all);
    sigprocmask (SIG_SETMASK, &all, NULL);
    sigemptyset (&wanted);
    sigaddset (&wanted, SIGCHLD);
    self.signal_fd = signalfd (-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
    if (self.socket < 0 || self.signal_fd < 0 || prctl (PR_SET_CHILD_SUBREAPER, 1) < 0)
        _exit (1);
    for (bool room = true, clear = true;;) {
        struct pollfd items[] = {{self.socket, (short)(room ? POLLIN : POLLIN | POLLOUT), 0},
                                 {self.signal_fd, POLLIN, 0}};
        if (poll (items, 2, clear ? -1 : CLEAR_EVERY_MS) < 0 && errno != EINTR)
            abort ();
        if (items[0].revents & (POLLIN | POLLHUP | POLLERR) && !take_request (&self))
            _exit (0);
        if (items[1].revents)
            reap (&self);
        clear = clear_orphans (&self);
        room = tell (&self);
    }
}
