#include "cli/link.h"

#include "bus/clock.h"
#include "bus/rundir.h"
#include "cli/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 10000
#define LOOK_MS 5 /* between two looks whether something has come up */
#define READY_SLICE_MS 500
#define PATIENCE_MS 3000
#define GONE_PATIENCE_MS 60000

extern char **environ;

bool rota_link_probe (const char *endpoint, pid_t *ret_pid)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    const char *path = strncmp (endpoint, "ipc://", 6) == 0 ? endpoint + 6 : endpoint;

    if (strlen (path) >= sizeof address.sun_path)
        return false;
    memcpy (address.sun_path, path, strlen (path) + 1);
    int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool there = connect (fd, (const struct sockaddr *)&address, sizeof address) == 0;
    if (there && ret_pid)
        *ret_pid = getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
    close (fd);
    return there;
}

int rota_link_state (const rota_cli_t *cli, bool make, char **ret_state)
{
    rota_error_t error = {""};
    char *path = NULL;
    int status = rota_state_find (rota_options_text (cli->options, "state", NULL), &path, &error);

    if (status == 1 && !make) {
        status =
            rota_cli_fail (ROTA_EXIT_USAGE,
                           "there is no rota state here (looked for %s); start with `rota run ROADMAP`, or "
                           "say where it is with --state DIR",
                           path);
        free (path);
        return status;
    }
    /* Also where it is there: an older one may lack a part. */
    if (status >= 0)
        status = rota_state_make (path, &error);
    if (status < 0) {
        free (path);
        return rota_cli_fail (status == -EPERM ? ROTA_EXIT_REFUSED : ROTA_EXIT_USAGE, "%s",
                              *error.text ? error.text : strerror (-status));
    }
    *ret_state = path;
    return ROTA_EXIT_DONE;
}

/* The supervisor's arguments; pointers into `want` and the texts given. */
static size_t arguments_of (const rota_link_want_t *want, const char *state, const char **list,
                            size_t capacity)
{
    size_t count = 0;
    list[count++] = "rota";
    list[count++] = "supervise";
    list[count++] = "--state";
    list[count++] = state;
    list[count++] = "--services";
    list[count++] = rota_services_name (want->services);
    for (size_t i = 0; i < want->agent_count && count + 5 < capacity; i++) {
        list[count++] = "--agent";
        list[count++] = want->agents[i];
    }
    if (want->exec) {
        list[count++] = "--exec";
        list[count++] = want->exec;
    }
    if (want->trust)
        list[count++] = "--trust-agents";
    list[count] = NULL;
    return count;
}

static char *service_log (const char *state)
{
    char *path = NULL;
    return asprintf (&path, "%s/logs/services/supervisor.log", state) < 0 ? NULL : path;
}

/* In a session of its own, so that Ctrl-C in the terminal reaches only this process, which decides. */
static int spawn (rota_link_t *self, const rota_link_want_t *want)
{
    int keep[2] = {-1, -1}, words[2] = {-1, -1}, status = 0;
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    const char *arguments[128];
    char *log = service_log (self->state);
    bool stays = want->services == ROTA_SERVICES_UP;

    arguments_of (want, self->state, arguments, sizeof arguments / sizeof arguments[0]);
    if (!log)
        return -ENOMEM;
    if (pipe2 (keep, O_CLOEXEC) != 0 || pipe2 (words, O_CLOEXEC) != 0)
        status = errno;
    posix_spawn_file_actions_init (&files);
    posix_spawnattr_init (&attributes);
    posix_spawnattr_setflags (&attributes, POSIX_SPAWN_SETSID);
    if (status == 0 && stays)
        status = posix_spawn_file_actions_addopen (&files, 0, "/dev/null", O_RDONLY, 0);
    else if (status == 0)
        status = posix_spawn_file_actions_adddup2 (&files, keep[0], 0);
    if (status == 0)
        status = posix_spawn_file_actions_adddup2 (&files, words[1], 1);
    if (status == 0)
        status = posix_spawn_file_actions_addopen (&files, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (status == 0)
        status = posix_spawn (&self->supervisor, "/proc/self/exe", &files, &attributes,
                              (char *const *)arguments, environ);
    posix_spawn_file_actions_destroy (&files);
    posix_spawnattr_destroy (&attributes);
    free (log);
    for (int i = 0; i < 2; i++) {
        if (keep[i] >= 0 && (i == 0 || status != 0 || stays))
            close (keep[i]);
        if (words[i] >= 0 && (i == 1 || status != 0))
            close (words[i]);
    }
    if (status != 0) {
        self->supervisor = 0;
        return -status;
    }
    self->keep_fd = stays ? -1 : keep[1];
    self->words_fd = words[0];
    fcntl (self->words_fd, F_SETFL, O_NONBLOCK);
    return 0;
}

bool rota_link_word (rota_link_t *self, char *ret_word, char *ret_line)
{
    for (;;) {
        char *end = memchr (self->words, '\n', self->words_size);
        if (end) {
            size_t length = (size_t)(end - self->words);
            *ret_word = self->words[0];
            if (length == 0)
                *ret_word = ROTA_WORD_NOTE;
            size_t text = length ? length - 1 : 0;
            memcpy (ret_line, self->words + 1, text);
            ret_line[text] = '\0';
            self->words_size -= length + 1;
            memmove (self->words, end + 1, self->words_size);
            return true;
        }
        if (self->words_size == sizeof self->words)
            self->words_size = 0; /* no line of ours is so long */
        ssize_t got = self->words_fd < 0 ? 0
                                         : read (self->words_fd, self->words + self->words_size,
                                                 sizeof self->words - self->words_size);
        if (got <= 0)
            return false;
        self->words_size += (size_t)got;
    }
}

/* Prints what the supervisor said. True if a service doesn't come up. */
static bool print_words (rota_link_t *self)
{
    char line[sizeof self->words], word;
    bool fault = false;
    while (rota_link_word (self, &word, line)) {
        rota_cli_note ("%s", line);
        fault |= word == ROTA_WORD_FAULT;
    }
    return fault;
}

static void drop_supervisor (rota_link_t *self)
{
    if (self->keep_fd >= 0)
        close (self->keep_fd);
    if (self->words_fd >= 0)
        close (self->words_fd);
    self->keep_fd = self->words_fd = -1;
    self->words_size = 0;
    self->supervisor = 0;
}

typedef enum { COMING, UP, TAKEN, FAILED } progress_t;

/* One look at a supervisor that was just started. */
static progress_t look_at_ours (rota_link_t *self)
{
    int status = 0;
    if (waitpid (self->supervisor, &status, WNOHANG) == self->supervisor) {
        bool busy = WIFEXITED (status) && WEXITSTATUS (status) == ROTA_SUPERVISOR_BUSY;
        print_words (self);
        drop_supervisor (self);
        return busy ? TAKEN : FAILED;
    }
    if (print_words (self))
        return FAILED;
    return rota_link_probe (self->endpoints, NULL) ? UP : COMING;
}

static bool stopped (const rota_link_want_t *want)
{
    return want->stop && *want->stop;
}

static void nap (void)
{
    poll (NULL, 0, LOOK_MS);
}

/* Until somebody listens for clients of the state directory: 0, -ETIMEDOUT, -EINTR, -ECHILD (ours failed). */
static int bring_up (rota_link_t *self, const rota_link_want_t *want, int64_t end_ms, rota_error_t *error)
{
    rota_holder_t holder = {0};

    for (bool told = false; !stopped (want); nap ()) {
        if (self->supervisor > 0) {
            progress_t progress = look_at_ours (self);
            if (progress == UP)
                return 0;
            if (progress == FAILED)
                return rota_error_set (error, -ECHILD,
                                       "the services don't come up; their logs are in %s/logs/services",
                                       self->state);
        } else {
            int held = rota_state_holder (self->state, &holder);
            bool passing = held == 1 && holder.pid > 0 && holder.services == ROTA_SERVICES_HOLD;
            if (!passing && rota_link_probe (self->endpoints, NULL))
                return 0;
            if (held == 0) {
                int status = spawn (self, want);
                if (status < 0)
                    return rota_error_set (error, status, "can't start the services: %s", strerror (-status));
            } else if (passing && !told && rota_clock_monotonic_ms () > end_ms - CONNECT_TIMEOUT_MS / 2) {
                rota_cli_note ("waiting for another rota command on this state (supervisor %d)", holder.pid);
                told = true;
            }
        }
        if (rota_clock_monotonic_ms () >= end_ms)
            return rota_error_set (error, -ETIMEDOUT, "the services of %s did not come up in time",
                                   self->state);
    }
    return -EINTR;
}

/* Whether it still makes sense to wait: our supervisor lives, or somebody listens. */
static bool alive (rota_link_t *self)
{
    if (self->supervisor > 0)
        return look_at_ours (self) != FAILED && self->supervisor > 0;
    return !self->state || rota_link_probe (self->endpoints, NULL);
}

/* -EINVAL for settings that can't be read, too: the faults have been printed. */
static int load_keys (const rota_link_t *self, rota_curve_t *ret_curve, rota_error_t *error)
{
    const rota_options_t *options = self->cli->options;
    rota_settings_t *settings = NULL;
    if (strncmp (self->endpoints, "ipc://", 6) == 0 && !strchr (self->endpoints, ',')) {
        *ret_curve = (rota_curve_t){.insecure = false};
        return 0;
    }
    if (rota_settings_load (rota_options_text (options, "config", NULL), stderr, &settings, error) < 0)
        return -EINVAL;
    int status = rota_curve_load (self->endpoints, rota_options_text (options, "key", NULL),
                                  rota_options_flag (options, "insecure"), settings, ret_curve, error);
    rota_settings_destroy (&settings);
    return status == -EPERM ? -EACCES : status < 0 ? -EINVAL : 0;
}

static int connect_client (rota_link_t *self, const rota_link_want_t *want, int64_t end_ms,
                           rota_error_t *error)
{
    char name[64];
    rota_curve_t curve;
    int loaded = load_keys (self, &curve, error);
    if (loaded < 0)
        return loaded;
    snprintf (name, sizeof name, "rota %s", self->cli->verb->name);
    self->client = rota_client_new_with (self->endpoints, name, &curve, error);
    rota_curve_wipe (&curve);
    if (!self->client)
        return -EINVAL;
    for (;;) {
        int64_t left_ms = end_ms - rota_clock_monotonic_ms ();
        bool last = left_ms <= READY_SLICE_MS;
        int status = rota_client_wait_ready (self->client,
                                             last ? (int)(left_ms > 0 ? left_ms : 0) : READY_SLICE_MS, error);
        if (status == 0)
            return 0;
        if (stopped (want))
            return -EINTR;
        if (rota_peer_is_turned_away (rota_client_peer (self->client)))
            return rota_error_set (error, -EACCES, "%s", rota_peer_why (rota_client_peer (self->client)));
        if (last)
            return status;
        if (!alive (self)) {
            rota_client_destroy (&self->client);
            return self->supervisor || self->started ? status : -EAGAIN;
        }
    }
}

static int open_state (rota_link_t *self, const rota_link_want_t *want, int64_t end_ms, rota_error_t *error)
{
    int status = rota_link_endpoint (self->state, &self->endpoints, error);
    if (status < 0)
        return status;
    for (;;) {
        status = bring_up (self, want, end_ms, error);
        if (status < 0)
            return status;
        self->started = self->supervisor > 0;
        status = connect_client (self, want, end_ms, error);
        if (status != -EAGAIN) /* what listened was about to end: start anew */
            return status;
    }
}

int rota_link_open (const rota_cli_t *cli, const rota_link_want_t *want, rota_link_t *ret_link)
{
    const char *brokers = rota_options_text (cli->options, "broker", NULL);
    int64_t patience_ms = rota_options_duration_ms (cli->options, "connect-timeout", CONNECT_TIMEOUT_MS);
    int64_t end_ms = rota_clock_monotonic_ms () + patience_ms;
    rota_link_t self = {.cli = cli, .keep_fd = -1, .words_fd = -1};
    rota_error_t error = {""};
    int status;

    if (brokers) {
        self.endpoints = strdup (brokers);
        status = self.endpoints ? connect_client (&self, want, end_ms, &error) : -ENOMEM;
    } else {
        int code = rota_link_state (cli, want->make, &self.state);
        if (code != ROTA_EXIT_DONE)
            return code;
        status = open_state (&self, want, end_ms, &error);
    }
    if (status < 0) {
        if (self.supervisor > 0 && self.keep_fd < 0) /* one that would stay is of no use then */
            kill (self.supervisor, SIGTERM);
        rota_link_close (&self);
        if (status == -EINTR)
            return ROTA_EXIT_INTERRUPTED;
        return rota_cli_fail (status == -EINVAL   ? ROTA_EXIT_USAGE
                              : status == -EACCES ? ROTA_EXIT_REFUSED
                                                  : ROTA_EXIT_UNREACHABLE,
                              "%s", *error.text ? error.text : strerror (-status));
    }
    *ret_link = self;
    return ROTA_EXIT_DONE;
}

int rota_link_open_any (const rota_cli_t *cli, rota_link_t *ret_link)
{
    return rota_link_open (cli, &(rota_link_want_t){.services = ROTA_SERVICES_HOLD}, ret_link);
}

/* The end of services that end with us takes a moment: what runs is ended first. */
static void await_end (rota_link_t *self)
{
    int64_t told_ms = rota_clock_monotonic_ms () + PATIENCE_MS;

    while (waitpid (self->supervisor, NULL, WNOHANG) == 0) {
        print_words (self);
        if (rota_clock_monotonic_ms () >= told_ms) {
            rota_cli_note ("waiting for the services to end");
            told_ms = INT64_MAX;
        }
        nap ();
    }
}

void rota_link_close (rota_link_t *self)
{
    rota_client_destroy (&self->client);
    if (self->keep_fd >= 0) {
        close (self->keep_fd);
        self->keep_fd = -1;
        if (self->supervisor > 0)
            await_end (self);
    }
    drop_supervisor (self);
    free (self->state);
    free (self->endpoints);
    self->state = self->endpoints = NULL;
}

void rota_link_go (rota_link_t *self)
{
    /* If nobody reads it, the supervisor has ended, which every call will show. */
    ssize_t written = self->keep_fd >= 0 ? write (self->keep_fd, "g", 1) : 0;
    (void)written;
}

bool rota_link_gone (const rota_link_t *self)
{
    rota_holder_t holder;
    return self->state && self->supervisor == 0 && rota_state_holder (self->state, &holder) == 0 &&
           !rota_link_probe (self->endpoints, NULL);
}

bool rota_link_has_ended (const rota_link_t *self, const rota_link_want_t *want)
{
    if (!self->state || self->supervisor != 0 || rota_link_probe (self->endpoints, NULL))
        return false;
    int64_t end_ms = rota_clock_monotonic_ms () + GONE_PATIENCE_MS;
    for (; !stopped (want) && rota_clock_monotonic_ms () < end_ms; nap ())
        if (rota_link_gone (self) || rota_link_probe (self->endpoints, NULL))
            return true;
    return false;
}

static int code_of (Rota__ErrorCode code)
{
    switch (code) {
    case ROTA__ERROR_CODE__ERROR_CODE_NOT_FOUND:
    case ROTA__ERROR_CODE__ERROR_CODE_INVALID:
    case ROTA__ERROR_CODE__ERROR_CODE_MALFORMED:
    case ROTA__ERROR_CODE__ERROR_CODE_TOO_LARGE:
        return ROTA_EXIT_USAGE;
    case ROTA__ERROR_CODE__ERROR_CODE_UNAVAILABLE:
    case ROTA__ERROR_CODE__ERROR_CODE_RETRY_LATER:
    case ROTA__ERROR_CODE__ERROR_CODE_DEADLINE:
    case ROTA__ERROR_CODE__ERROR_CODE_NOT_LEADER:
    case ROTA__ERROR_CODE__ERROR_CODE_HELLO_REQUIRED:
        return ROTA_EXIT_UNREACHABLE;
    default:
        return ROTA_EXIT_REFUSED;
    }
}

static void print_faults (const Rota__Error *refusal)
{
    for (size_t i = 0; refusal && i < refusal->n_faults; i++) {
        const Rota__Fault *fault = refusal->faults[i];
        char *source = rota_clean_bytes (fault->has_source, fault->source);
        char *text = rota_clean_bytes (fault->has_text, fault->text);
        if (fault->line > 0)
            fprintf (stderr, "%s:%u:%u: error: %s\n", source ? source : "", fault->line, fault->column,
                     text ? text : "");
        else
            fprintf (stderr, "%s%serror: %s\n", source ? source : "", source && *source ? ": " : "",
                     text ? text : "");
        free (source);
        free (text);
    }
}

int rota_link_refusal (rota_link_t *self, int status, const rota_error_t *error)
{
    if (status == -EINTR)
        return ROTA_EXIT_INTERRUPTED;
    if (status != -EPROTO)
        return rota_cli_fail (ROTA_EXIT_UNREACHABLE, "%s", *error->text ? error->text : strerror (-status));
    print_faults (rota_client_last_refusal (self->client));
    Rota__ErrorCode code = rota_client_last_code (self->client);
    return rota_cli_fail (code_of (code), "%s", *error->text ? error->text : rota_error_code_name (code));
}

int rota_link_call (rota_link_t *self, uint32_t type, const ProtobufCMessage *request, int timeout_ms,
                    uint32_t reply_type, void *ret_reply)
{
    rota_error_t error = {""};
    int status = rota_client_call (self->client, type, request, timeout_ms, reply_type, ret_reply, &error);
    return status == 0 ? ROTA_EXIT_DONE : rota_link_refusal (self, status, &error);
}

int rota_link_endpoint (const char *state, char **ret_endpoint, rota_error_t *error)
{
    char directory[ROTA_RUNDIR_PATH_BYTES];
    rota_rundir_endpoints_t endpoints;
    int status = rota_rundir (state, true, directory, sizeof directory, error);

    if (status < 0)
        return status;
    rota_rundir_endpoints (directory, &endpoints);
    *ret_endpoint = strdup (endpoints.client);
    return *ret_endpoint ? 0 : rota_error_set (error, -ENOMEM, "no memory");
}
