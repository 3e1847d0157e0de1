#include "agents/converse_internal.h"

#include "agents/attempt.h"
#include "bus/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_MAX_BYTES ((size_t)4 << 20) /* as the readers' */
#define PROMPT_MAX_BYTES ((size_t)4 << 20)
#define QUEUE_MAX_BYTES ((size_t)32 << 20) /* a prompt of which every byte must be escaped, and some */
#define READ_BYTES ((size_t)64 << 10)
#define PRINT_BYTES ((size_t)64 << 10)
#define DRAIN_MAX_BYTES ((size_t)8 << 20)
#define CANCEL_MS 3000
#define CLOSE_MS 3000 /* codex-acp stays when its input ends */
#define TERMINATE_MS 2000

enum { EXIT_WELL = 0, EXIT_BADLY = 1, EXIT_USAGE = 2, EXIT_STOPPED = 128 + SIGTERM };

extern char **environ;

/* ---- stages */

static void enter (rota_conversation_t *self, rota_converse_stage_t stage, int64_t time_ms)
{
    self->stage = stage;
    self->deadline_ms = time_ms ? rota_clock_monotonic_ms () + time_ms : 0;
}

static void close_input (rota_conversation_t *self)
{
    if (self->input_fd >= 0)
        close (self->input_fd);
    self->input_fd = -1;
    self->queue.used = self->queue.done = 0;
}

static void begin_to_close (rota_conversation_t *self)
{
    if (self->stage >= ROTA_CONVERSE_CLOSING)
        return;
    close_input (self);
    enter (self, ROTA_CONVERSE_CLOSING, CLOSE_MS);
}

void rota_conversation_end (rota_conversation_t *self, bool well)
{
    if (!self->over)
        self->well = well;
    self->over = true;
    begin_to_close (self);
}

void rota_conversation_fail (rota_conversation_t *self, const char *format, ...)
{
    va_list arguments;
    if (!self->over) {
        fputs ("rota-agent: ", stderr);
        va_start (arguments, format);
        vfprintf (stderr, format, arguments);
        va_end (arguments);
        fputc ('\n', stderr);
    }
    rota_conversation_end (self, false);
}

void rota_conversation_lost_session (const rota_conversation_t *self, const json_t *error)
{
    const char *text = json_string_value (json_object_get (error, "message"));
    fprintf (stderr, "rota-agent: the session %s can't be gone on with (%s), a new one is begun\n",
             self->options.session, text ? text : "the agent can't load sessions");
}

static void pass_deadline (rota_conversation_t *self)
{
    switch (self->stage) {
    case ROTA_CONVERSE_CANCELLING:
        begin_to_close (self);
        break;
    case ROTA_CONVERSE_CLOSING:
        kill (self->pid, SIGTERM);
        enter (self, ROTA_CONVERSE_TERMINATING, TERMINATE_MS);
        break;
    default:
        kill (self->pid, SIGKILL);
        enter (self, ROTA_CONVERSE_KILLING, 0);
    }
}

/* ---- to the agent */

static bool make_room (char **bytes, size_t *capacity, size_t needed)
{
    size_t wanted = *capacity ? *capacity : 4096;
    while (wanted < needed)
        wanted *= 2;
    if (wanted == *capacity)
        return true;
    char *grown = realloc (*bytes, wanted);
    if (!grown)
        return false;
    *bytes = grown;
    *capacity = wanted;
    return true;
}

static void send_message (rota_conversation_t *self, json_t *message, bool whole)
{
    if (message && self->protocol->marked)
        whole &= json_object_set_new (message, "jsonrpc", json_string ("2.0")) == 0;
    char *text = whole && message ? json_dumps (message, JSON_COMPACT) : NULL;
    size_t size = text ? strlen (text) : 0;
    json_decref (message);
    if (self->stage >= ROTA_CONVERSE_CLOSING) {
        free (text);
        return;
    }
    if (self->queue.done) {
        self->queue.used -= self->queue.done;
        memmove (self->queue.bytes, self->queue.bytes + self->queue.done, self->queue.used);
        self->queue.done = 0;
    }
    if (!text)
        rota_conversation_fail (self, "a message could not be made: no memory, or text that isn't UTF-8");
    else if (self->queue.used + size + 1 > QUEUE_MAX_BYTES)
        rota_conversation_fail (self, "the agent doesn't read what it is told");
    else if (!make_room (&self->queue.bytes, &self->queue.capacity, self->queue.used + size + 1))
        rota_conversation_fail (self, "no memory");
    else {
        memcpy (self->queue.bytes + self->queue.used, text, size);
        self->queue.bytes[self->queue.used + size] = '\n';
        self->queue.used += size + 1;
    }
    free (text);
}

void rota_conversation_send (rota_conversation_t *self, json_t *message)
{
    send_message (self, message, true);
}

void rota_conversation_request (rota_conversation_t *self, const char *method, json_t *params)
{
    json_t *message = json_pack ("{s:I, s:s}", "id", ++self->last_id, "method", method);
    self->awaited = self->last_id;
    send_message (self, message, json_object_set_new (message, "params", params) == 0);
}

void rota_conversation_notify (rota_conversation_t *self, const char *method, json_t *params)
{
    json_t *message = json_pack ("{s:s}", "method", method);
    send_message (self, message, json_object_set_new (message, "params", params) == 0);
}

void rota_conversation_answer (rota_conversation_t *self, json_t *id, json_t *result)
{
    json_t *message = json_pack ("{s:O}", "id", id);
    send_message (self, message, json_object_set_new (message, "result", result) == 0);
}

void rota_conversation_refuse (rota_conversation_t *self, json_t *id, const char *method)
{
    send_message (self,
                  json_pack ("{s:O, s:{s:i, s:s+}}", "id", id, "error", "code", ROTA_CONVERSE_UNKNOWN_METHOD,
                             "message", "Method not found: ", method),
                  true);
}

json_t *rota_conversation_prompt (rota_conversation_t *self)
{
    const char *word = rota_conversation_word (self);
    json_t *prompt =
        json_pack ("s++",
                   self->resumed ? "You were interrupted. Go on with this task where you left it, "
                                   "and bring it to its end.\n\n"
                                 : "",
                   self->prompt, word ? "\n\nWhat the person in charge has to say to it:\n\n" : "");
    if (word && prompt) {
        json_t *whole = json_pack ("s+", json_string_value (prompt), word);
        json_decref (prompt);
        prompt = whole;
        rota_conversation_told (self);
    }
    return prompt;
}

/* ---- from a person */

const char *rota_conversation_word (const rota_conversation_t *self)
{
    return json_string_value (self->word);
}

static void tell_of_word (rota_conversation_t *self, const char *key, const char *why)
{
    json_t *line = json_pack ("{s:{s:O, s:s*}}", "rota", key, self->word, "why", why);
    if (line)
        rota_conversation_print (line);
    json_decref (line);
    json_decref (self->word);
    self->word = NULL;
}

void rota_conversation_told (rota_conversation_t *self)
{
    if (self->word)
        tell_of_word (self, "told", NULL);
}

void rota_conversation_untold (rota_conversation_t *self, const char *why)
{
    if (self->word)
        tell_of_word (self, "untold", why);
}

static void take_word (rota_conversation_t *self)
{
    const char *before = rota_conversation_word (self);
    json_t *word = json_pack ("s++", before ? before : "", before ? "\n\n" : "", self->tell_bytes);
    self->tell_used = 0;
    if (!word)
        return; /* no UTF-8, which the host had looked for */
    json_decref (self->word);
    self->word = word;
    if (self->over || self->stage != ROTA_CONVERSE_TALKING)
        rota_conversation_untold (self, "its turn is over");
    else
        self->protocol->steer (self);
}

static void read_words (rota_conversation_t *self)
{
    char bytes[4096];
    ssize_t size;
    while ((size = read (self->tell_fd, bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < size; i++) {
            if (self->tell_used > ROTA_TELL_MAX_BYTES)
                self->tell_used = 0;
            self->tell_bytes[self->tell_used++] = bytes[i];
            if (!bytes[i])
                take_word (self);
        }
    if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
        close (self->tell_fd);
        self->tell_fd = -1;
    }
}

/* The agent doesn't get it: it is for this process. */
static int open_tell (rota_conversation_t *self)
{
    if (!self->options.tell)
        return 0;
    self->tell_bytes = malloc (ROTA_TELL_MAX_BYTES + 1);
    if (!self->tell_bytes)
        return -ENOMEM;
    if (fcntl (ROTA_TELL_FD, F_SETFD, FD_CLOEXEC) < 0 || fcntl (ROTA_TELL_FD, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    self->tell_fd = ROTA_TELL_FD;
    return 0;
}

/* What it doesn't take now waits in the queue. An agent that is gone is noticed elsewhere. */
static void write_queue (rota_conversation_t *self)
{
    while (self->queue.done < self->queue.used) {
        ssize_t size =
            write (self->input_fd, self->queue.bytes + self->queue.done, self->queue.used - self->queue.done);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN)
            return;
        if (size < 0) {
            close_input (self);
            return;
        }
        self->queue.done += (size_t)size;
    }
}

/* ---- from the agent */

static void write_out (const char *bytes, size_t size)
{
    while (size) {
        ssize_t written = write (STDOUT_FILENO, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return; /* who read it is gone, and ends us */
        bytes += written;
        size -= (size_t)written;
    }
}

/* What is to be printed before the loop waits again: an agent that says much in small pieces costs few
 * writes. */
static struct {
    char bytes[PRINT_BYTES];
    size_t used;
} printed;

static void flush_printed (void)
{
    write_out (printed.bytes, printed.used);
    printed.used = 0;
}

static void print_bytes (const char *bytes, size_t size)
{
    if (printed.used + size > sizeof printed.bytes)
        flush_printed ();
    if (size > sizeof printed.bytes) {
        write_out (bytes, size);
        return;
    }
    memcpy (printed.bytes + printed.used, bytes, size);
    printed.used += size;
}

void rota_conversation_print (const json_t *message)
{
    char *text = json_dumps (message, JSON_COMPACT);
    size_t size = text ? strlen (text) : 0;
    if (!text)
        return;
    text[size] = '\n'; /* in the place of the NUL */
    print_bytes (text, size + 1);
    free (text);
}

static void take_line (rota_conversation_t *self)
{
    const char *bytes = self->line.bytes;
    json_t *message =
        memchr (bytes, '{', self->line.used) ? json_loadb (bytes, self->line.used, 0, NULL) : NULL;
    bool print = self->line.used > 1;
    /* What isn't a message is printed all the same: it may say what is wrong. */
    if (json_is_object (message))
        print = self->protocol->hear (self, message);
    if (print)
        print_bytes (bytes, self->line.used);
    json_decref (message);
}

static void take_bytes (rota_conversation_t *self, const char *bytes, size_t size)
{
    while (size) {
        const char *end = memchr (bytes, '\n', size);
        size_t part = end ? (size_t)(end - bytes) + 1 : size;
        if (self->line.used + part > LINE_MAX_BYTES ||
            !make_room (&self->line.bytes, &self->line.capacity, self->line.used + part))
            self->line.too_long = true;
        if (!self->line.too_long) {
            memcpy (self->line.bytes + self->line.used, bytes, part);
            self->line.used += part;
        }
        if (end && self->line.too_long)
            fputs ("rota-agent: a message of the agent was too long and is passed over\n", stderr);
        else if (end)
            take_line (self);
        if (end) {
            self->line.used = 0;
            self->line.too_long = false;
        }
        bytes += part;
        size -= part;
    }
}

/* False when there is no more for now. */
static bool read_output (rota_conversation_t *self, size_t *total)
{
    char bytes[READ_BYTES];
    ssize_t size = self->output_fd < 0 ? -1 : read (self->output_fd, bytes, sizeof bytes);
    if (size > 0) {
        take_bytes (self, bytes, (size_t)size);
        *total += (size_t)size;
        return *total < DRAIN_MAX_BYTES;
    }
    if (self->output_fd < 0 || (size < 0 && (errno == EAGAIN || errno == EINTR)))
        return false;
    take_bytes (self, "\n", self->line.used || self->line.too_long ? 1 : 0);
    close (self->output_fd);
    self->output_fd = -1;
    begin_to_close (self);
    return false;
}

/* ---- signals */

static void stop (rota_conversation_t *self)
{
    if (self->stage != ROTA_CONVERSE_TALKING)
        return;
    self->stopped = true;
    enter (self, ROTA_CONVERSE_CANCELLING, CANCEL_MS);
    if (!self->protocol->cancel (self))
        begin_to_close (self);
}

static void reap (rota_conversation_t *self)
{
    size_t total = 0;
    if (waitpid (self->pid, &self->wait_status, WNOHANG) != self->pid)
        return;
    /* Its last words; others may hold its output open for ever. */
    while (read_output (self, &total))
        ;
    enter (self, ROTA_CONVERSE_GONE, 0);
}

static void take_signals (rota_conversation_t *self)
{
    struct signalfd_siginfo info;
    while (read (self->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo != SIGCHLD)
            stop (self);
    if (self->stage != ROTA_CONVERSE_GONE)
        reap (self);
}

/* ---- the loop */

static void talk (rota_conversation_t *self)
{
    self->protocol->begin (self);
    while (self->stage != ROTA_CONVERSE_GONE) {
        bool waits = self->queue.done < self->queue.used;
        struct pollfd items[] = {{self->signal_fd, POLLIN, 0},
                                 {self->output_fd, POLLIN, 0},
                                 {waits ? self->input_fd : -1, POLLOUT, 0},
                                 {self->tell_fd, POLLIN, 0}};
        int64_t left_ms = self->deadline_ms - rota_clock_monotonic_ms ();
        size_t total = 0;
        flush_printed ();
        if (poll (items, 4, !self->deadline_ms ? -1 : left_ms > 0 ? (int)left_ms : 0) < 0 && errno != EINTR)
            abort ();
        if (items[2].revents)
            write_queue (self);
        if (items[1].revents)
            read_output (self, &total);
        if (items[3].revents)
            read_words (self);
        if (items[0].revents)
            take_signals (self);
        if (self->deadline_ms && rota_clock_monotonic_ms () >= self->deadline_ms)
            pass_deadline (self);
    }
}

static int start (rota_conversation_t *self)
{
    int in[2], out[2];
    sigset_t none, defaults;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    if (pipe2 (in, O_CLOEXEC) < 0 || pipe2 (out, O_CLOEXEC) < 0)
        return -errno; /* this process ends */
    fcntl (in[1], F_SETFL, O_NONBLOCK);
    fcntl (out[0], F_SETFL, O_NONBLOCK);
    sigemptyset (&none);
    sigemptyset (&defaults);
    sigaddset (&defaults, SIGPIPE);
    posix_spawnattr_init (&attributes);
    posix_spawnattr_setsigmask (&attributes, &none);
    posix_spawnattr_setsigdefault (&attributes, &defaults);
    posix_spawnattr_setflags (&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_init (&actions);
    posix_spawn_file_actions_adddup2 (&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2 (&actions, out[1], STDOUT_FILENO);
    int failed = posix_spawnp (&self->pid, self->options.program[0], &actions, &attributes,
                               self->options.program, environ);
    posix_spawn_file_actions_destroy (&actions);
    posix_spawnattr_destroy (&attributes);
    close (in[0]);
    close (out[1]);
    self->input_fd = in[1];
    self->output_fd = out[0];
    return -failed;
}

static int catch_signals (rota_conversation_t *self)
{
    sigset_t caught;
    sigemptyset (&caught);
    sigaddset (&caught, SIGCHLD);
    sigaddset (&caught, SIGTERM);
    sigaddset (&caught, SIGINT);
    sigaddset (&caught, ROTA_CONVERSE_STOP_SIGNAL);
    signal (SIGPIPE, SIG_IGN);
    sigprocmask (SIG_BLOCK, &caught, NULL);
    self->signal_fd = signalfd (-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK);
    return self->signal_fd < 0 ? -errno : 0;
}

/* ---- what it is given */

/* All of standard input, or NULL with what errno says. */
static char *read_prompt (void)
{
    char *text = malloc (PROMPT_MAX_BYTES + 1);
    size_t used = 0;
    ssize_t size = 1;
    while (text && size > 0 && used < PROMPT_MAX_BYTES + 1) {
        size = read (STDIN_FILENO, text + used, PROMPT_MAX_BYTES + 1 - used);
        used += size > 0 ? (size_t)size : 0;
    }
    if (!text)
        return NULL;
    if (size < 0 || used > PROMPT_MAX_BYTES) {
        errno = size < 0 ? errno : E2BIG;
        free (text);
        return NULL;
    }
    text[used] = '\0';
    char *fitting = realloc (text, used + 1);
    return fitting ? fitting : text;
}

static const rota_protocol_t *find_protocol (const char *name)
{
    const rota_protocol_t *const ALL[] = {&ROTA_PROTOCOL_ACP, &ROTA_PROTOCOL_CLAUDE, &ROTA_PROTOCOL_CODEX};
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++)
        if (strcmp (ALL[i]->name, name) == 0)
            return ALL[i];
    return NULL;
}

/* argv[0] is the protocol. */
static bool read_options (rota_conversation_t *self, int argc, char **argv)
{
    static const struct option LONG[] = {
        {"session", required_argument, NULL, 's'},
        {"mode", required_argument, NULL, 'm'},
        {"authenticate", required_argument, NULL, 'a'},
        {"protocol-version", required_argument, NULL, 'v'},
        {"tools", required_argument, NULL, 'o'},
        {"trust", no_argument, NULL, 't'},
        {"tell", no_argument, NULL, 'w'},
        {NULL, 0, NULL, 0},
    };
    int option;
    self->options.version = 1;
    self->protocol = argc > 0 ? find_protocol (argv[0]) : NULL;
    while (self->protocol && (option = getopt_long (argc, argv, "+", LONG, NULL)) != -1) {
        if (option == 's')
            self->options.session = optarg;
        else if (option == 'm')
            self->options.mode = optarg;
        else if (option == 'a')
            self->options.authenticate = optarg;
        else if (option == 'v')
            self->options.version = atoi (optarg);
        else if (option == 'o')
            self->options.tools = optarg;
        else if (option == 't')
            self->options.trust = true;
        else if (option == 'w')
            self->options.tell = true;
        else
            return false;
    }
    self->options.program = argv + optind;
    return self->protocol && optind < argc;
}

static void report_end (const rota_conversation_t *self)
{
    int status = self->wait_status;
    if (self->over || self->stopped)
        return;
    if (WIFSIGNALED (status))
        fprintf (stderr, "rota-agent: %s was ended by signal %d in the middle of the conversation\n",
                 self->options.program[0], WTERMSIG (status));
    else
        fprintf (stderr, "rota-agent: %s ended with exit code %d in the middle of the conversation\n",
                 self->options.program[0], WEXITSTATUS (status));
}

static int complain (const char *what, int code)
{
    fprintf (stderr, "rota-agent: %s: %s\n", what, strerror (code));
    return EXIT_BADLY;
}

int rota_converse (int argc, char **argv)
{
    rota_conversation_t self = {.input_fd = -1, .output_fd = -1, .signal_fd = -1, .tell_fd = -1};
    if (!read_options (&self, argc, argv)) {
        fputs ("rota-agent " ROTA_CONVERSE_OPTION ": this is started by the kinds acp, claude and codex\n",
               stderr);
        return EXIT_USAGE;
    }
    if (!getcwd (self.directory, sizeof self.directory))
        return complain ("the working directory", errno);
    self.prompt = read_prompt ();
    if (!self.prompt)
        return complain ("the prompt can't be read", errno);
    int status = catch_signals (&self);
    if (status == 0)
        status = open_tell (&self);
    if (status == 0)
        status = start (&self);
    if (status < 0)
        complain (self.options.program[0], -status);
    else {
        talk (&self);
        rota_conversation_untold (&self, "its turn is over");
        flush_printed ();
        report_end (&self);
        if (self.protocol->exits && !(WIFEXITED (self.wait_status) && WEXITSTATUS (self.wait_status) == 0))
            self.well = false;
    }
    close_input (&self);
    if (self.output_fd >= 0)
        close (self.output_fd);
    if (self.signal_fd >= 0)
        close (self.signal_fd);
    json_decref (self.session);
    json_decref (self.turn);
    json_decref (self.word);
    free (self.tell_bytes);
    free (self.queue.bytes);
    free (self.line.bytes);
    free (self.prompt);
    return self.stopped ? EXIT_STOPPED : self.well ? EXIT_WELL : EXIT_BADLY;
}
