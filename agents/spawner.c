#include "agents/spawner.h"

#include "agents/shim.h"
#include "agents/spawner_process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct rota_spawner {
    int socket;
    pid_t pid;
};

rota_spawner_t *rota_spawner_start (rota_error_t *error)
{
    int pair[2];
    rota_spawner_t *self = calloc (1, sizeof *self);
    if (!self || socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        rota_error_set (error, -errno, "can't prepare the spawner: %s", strerror (errno));
        free (self);
        return NULL;
    }
    self->pid = fork ();
    if (self->pid == 0) {
        close (pair[0]);
        rota_spawner_process (pair[1]);
    }
    close (pair[1]);
    if (self->pid < 0) {
        rota_error_set (error, -errno, "can't start the spawner: %s", strerror (errno));
        close (pair[0]);
        free (self);
        return NULL;
    }
    self->socket = pair[0];
    return self;
}

void rota_spawner_destroy (rota_spawner_t **self_p)
{
    rota_spawner_t *self = *self_p;
    if (!self)
        return;
    close (self->socket);
    while (waitpid (self->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    free (self);
    *self_p = NULL;
}

static int send_request (rota_spawner_t *self, const rota_spawner_request_t *request, const int *fds,
                         size_t count)
{
    union {
        char bytes[CMSG_SPACE (2 * sizeof (int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = (void *)request, .iov_len = sizeof *request};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE (count * sizeof (int))};
    memset (&control, 0, sizeof control);
    struct cmsghdr *header = CMSG_FIRSTHDR (&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN (count * sizeof (int));
    memcpy (CMSG_DATA (header), fds, count * sizeof (int));
    if (sendmsg (self->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return 0;
    return errno == ECONNRESET ? -EPIPE : errno == ETOOMANYREFS ? -EAGAIN : -errno;
}

int rota_spawner_hold (rota_spawner_t *self, int fd)
{
    rota_spawner_request_t request = {.launch = 0};
    return send_request (self, &request, &fd, 1);
}

int rota_spawner_launch (rota_spawner_t *self, const rota_attempt_t *attempt, uint64_t launch,
                         int *ret_control_fd)
{
    rota_spawner_request_t request = {.launch = launch};
    int pair[2], record;
    int status = rota_attempt_pack (attempt, &record);
    if (status < 0)
        return status;
    if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        status = -errno;
        close (record);
        return status;
    }
    const int fds[] = {pair[1], record};
    status = send_request (self, &request, fds, 2);
    close (pair[1]);
    close (record);
    if (status < 0)
        close (pair[0]);
    else
        *ret_control_fd = pair[0];
    return status;
}

int rota_spawner_fd (const rota_spawner_t *self)
{
    return self->socket;
}

pid_t rota_spawner_pid (const rota_spawner_t *self)
{
    return self->pid;
}

int rota_spawner_next (rota_spawner_t *self, rota_spawner_end_t *ret_end)
{
    rota_spawner_end_t end;
    ssize_t size = recv (self->socket, &end, sizeof end, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (size != (ssize_t)sizeof end)
        return -EPIPE;
    *ret_end = end;
    return 1;
}

static int send_control (int control_fd, rota_control_t kind, uint32_t value_ms)
{
    rota_control_message_t message = {.kind = kind, .value_ms = value_ms};
    if (send (control_fd, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return 0;
    return errno == ECONNRESET ? -EPIPE : -errno;
}

int rota_control_renew (int control_fd, uint32_t lease_ms)
{
    return send_control (control_fd, ROTA_CONTROL_RENEW, lease_ms);
}

int rota_control_stop (int control_fd, uint32_t grace_ms)
{
    return send_control (control_fd, ROTA_CONTROL_STOP, grace_ms);
}

int rota_control_tell (int control_fd, const char *text, size_t size_bytes)
{
    rota_control_message_t message = {.kind = ROTA_CONTROL_TELL};
    struct iovec parts[] = {{&message, sizeof message}, {(void *)text, size_bytes}};
    const struct msghdr packet = {.msg_iov = parts, .msg_iovlen = 2};
    if (sendmsg (control_fd, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return 0;
    return errno == ECONNRESET ? -EPIPE : -errno;
}
