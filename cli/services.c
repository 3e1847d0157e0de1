#include "cli/services.h"

#include "bus/clock.h"
#include "bus/units.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 5000
#define SETTLED_AFTER_MS 10000 /* having lived so long, the next end counts as the first */

extern char **environ;

static const struct {
    const char *word;
    unsigned slots; /* when nobody says how many; 0 = one a processor */
} AGENT_KINDS[] = {
#define KIND(word, ADAPTER, slots, what) {word, slots},
#include "agents/kinds.def"
};

static const char *const AGENT_WORDS[] = {
#define KIND(word, ADAPTER, slots, what) word,
#include "agents/kinds.def"
};

static const char AGENT_KIND_LIST[] =
#define KIND(word, ADAPTER, slots, what) ", " word
#include "agents/kinds.def"
    ;

char *rota_program_path (const char *name)
{
    const char *directory = getenv ("ROTA_LIBEXEC");
    char self[PATH_MAX], *path = NULL;

    if (!directory || !*directory) {
        ssize_t length = readlink ("/proc/self/exe", self, sizeof self - 1);
        self[length > 0 ? length : 0] = '\0';
        char *slash = strrchr (self, '/');
        if (slash)
            *slash = '\0';
        directory = self;
    }
    return asprintf (&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

int rota_agent_parse (const char *text, rota_agent_option_t *ret_agent, rota_error_t *error)
{
    size_t kind = strcspn (text, "/="), account = 0;
    const char *rest = text + kind;
    long processors = sysconf (_SC_NPROCESSORS_ONLN);
    int64_t slots = processors > 0 ? processors : 1;
    bool known = false;

    for (size_t i = 0; i < sizeof AGENT_KINDS / sizeof AGENT_KINDS[0]; i++) {
        const char *word = AGENT_KINDS[i].word;
        if (strlen (word) != kind || strncmp (word, text, kind) != 0)
            continue;
        known = true;
        slots = AGENT_KINDS[i].slots ? AGENT_KINDS[i].slots : slots;
    }
    if (!known || kind >= ROTA_AGENT_KIND_MAX_BYTES)
        return rota_error_set (error, -EINVAL, "there is no agent kind \"%.*s\"; this version has: %s",
                               (int)(kind < 64 ? kind : 64), text, AGENT_KIND_LIST + 2);
    if (*rest == '/') {
        account = strcspn (++rest, "=");
        if (account == 0 || account >= ROTA_AGENT_ACCOUNT_MAX_BYTES || memchr (rest, '/', account))
            return rota_error_set (error, -EINVAL,
                                   "--agent %s: an account is a short name, as in claude/work", text);
    }
    if (rest[account] &&
        (rota_integer_parse (rest + account + 1, &slots) < 0 || slots < 1 || slots > ROTA_AGENT_SLOTS_MAX))
        return rota_error_set (error, -EINVAL, "--agent %s: the number of slots is from 1 to %d", text,
                               ROTA_AGENT_SLOTS_MAX);
    *ret_agent = (rota_agent_option_t){.slots = (unsigned)slots};
    snprintf (ret_agent->kind, sizeof ret_agent->kind, "%.*s", (int)kind, text);
    snprintf (ret_agent->account, sizeof ret_agent->account, "%.*s", (int)account, rest);
    return 0;
}

const char *const *rota_agent_kinds (size_t *ret_count)
{
    *ret_count = sizeof AGENT_WORDS / sizeof AGENT_WORDS[0];
    return AGENT_WORDS;
}

/* A service with its arguments: texts, copied, ended by NULL. */
static int add (rota_service_list_t *list, const char *name, rota_stage_t stage, const char *program,
                const char *state, ...)
{
    if (list->count == ROTA_SERVICES_MAX)
        return -E2BIG;
    rota_service_t *service = &list->list[list->count++];
    char log_name[72];
    size_t count = 0;
    va_list more;

    *service = (rota_service_t){.stage = stage, .backoff_ms = BACKOFF_FIRST_MS};
    snprintf (service->name, sizeof service->name, "%s", name);
    snprintf (log_name, sizeof log_name, "%s", name);
    for (char *c = log_name; *c; c++)
        if (*c == ' ')
            *c = '-';
    bool failed = asprintf (&service->log_path, "%s/logs/services/%s.log", state, log_name) < 0;
    service->arguments[count++] = rota_program_path (program);
    service->arguments[count++] = strdup ("--state");
    service->arguments[count++] = strdup (state);
    va_start (more, state);
    for (const char *text = va_arg (more, const char *); text && count + 1 < ROTA_SERVICE_ARGUMENTS;
         text = va_arg (more, const char *))
        service->arguments[count++] = strdup (text);
    va_end (more);
    for (size_t i = 0; i < count; i++)
        failed |= !service->arguments[i];
    return failed ? -ENOMEM : 0;
}

static const char *option_of (const rota_service_t *service, const char *option)
{
    for (size_t i = 0; service->arguments[i] && service->arguments[i + 1]; i++)
        if (strcmp (service->arguments[i], option) == 0)
            return service->arguments[i + 1];
    return NULL;
}

rota_service_t *rota_services_agent (rota_service_list_t *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *there = option_of (&list->list[i], "--name");
        if (there && !list->list[i].removed && strcmp (there, name) == 0)
            return &list->list[i];
    }
    return NULL;
}

/* "claude-work-2@host": the number only where there is one of that kind and account already. */
static void name_agent (rota_service_list_t *list, const rota_agent_option_t *agent, char ret_word[128],
                        char ret_full[224])
{
    char host[64] = "host", number[24] = "";
    gethostname (host, sizeof host - 1);
    for (unsigned n = 2;; n++) {
        snprintf (ret_word, 128, "%s%s%s%s", agent->kind, agent->account[0] ? "-" : "", agent->account,
                  number);
        snprintf (ret_full, 224, "%s@%s", ret_word, host);
        if (!rota_services_agent (list, ret_full))
            return;
        snprintf (number, sizeof number, "-%u", n);
    }
}

int rota_services_add_agent (const rota_supervisor_t *config, rota_service_list_t *list, const char *text,
                             rota_error_t *error)
{
    char slots[16], word[128], name[160], full[224];
    const char *more[8] = {NULL};
    size_t count = 0;
    rota_agent_option_t agent;
    int status = rota_agent_parse (text, &agent, error);
    if (status < 0)
        return status;

    name_agent (list, &agent, word, full);
    snprintf (slots, sizeof slots, "%u", agent.slots);
    snprintf (name, sizeof name, "agent %s", word);
    if (config->exec) {
        more[count++] = "--exec";
        more[count++] = config->exec;
    }
    if (agent.account[0]) {
        more[count++] = "--account";
        more[count++] = agent.account;
    }
    if (config->trust)
        more[count++] = "--trust-agents";
    return add (list, name, ROTA_STAGE_AGENTS, "rota-agent", config->state, "--kind", agent.kind, "--slots",
                slots, "--name", full, more[0], more[1], more[2], more[3], more[4], NULL);
}

int rota_services_plan (const rota_supervisor_t *config, rota_service_list_t *ret_list, rota_error_t *error)
{
    bool hold = config->services == ROTA_SERVICES_HOLD;
    int status;

    ret_list->count = 0;
    status = add (ret_list, "broker", ROTA_STAGE_BROKER, "rota-broker", config->state, NULL);
    if (status == 0)
        status = add (ret_list, "scheduler", ROTA_STAGE_SCHEDULER, "rota-scheduler", config->state,
                      hold ? "--hold" : NULL, NULL);
    if (status == 0 && !hold)
        status = add (ret_list, "telemetry", ROTA_STAGE_TELEMETRY, "rota-telemetry", config->state, NULL);
    for (size_t i = 0; status == 0 && !hold && i < config->agent_count; i++)
        status = rota_services_add_agent (config, ret_list, config->agents[i], error);
    if (status == 0 && !hold && config->agent_count == 0)
        status = rota_services_add_agent (config, ret_list, "exec", error);
    if (status == -ENOMEM)
        rota_error_set (error, status, "no memory");
    if (status == -E2BIG)
        rota_error_set (error, status, "too many agents: at most %d", ROTA_SERVICES_MAX - 3);
    if (status < 0)
        rota_services_forget (ret_list);
    return status;
}

void rota_services_forget (rota_service_list_t *list)
{
    for (size_t i = 0; i < list->count; i++) {
        for (size_t j = 0; j < ROTA_SERVICE_ARGUMENTS; j++)
            free (list->list[i].arguments[j]);
        free (list->list[i].log_path);
    }
    list->count = 0;
}

/* The log is opened for appending by whoever writes it, so it can be emptied under a running service. What
 * is written between copy and cut is lost: a log, not a record. */
void rota_service_trim_log (const rota_service_t *self)
{
    struct stat info;
    char *old = NULL;
    int from, to;

    if (stat (self->log_path, &info) != 0 || info.st_size <= ROTA_SERVICE_LOG_MAX_BYTES ||
        asprintf (&old, "%s.1", self->log_path) < 0)
        return;
    from = open (self->log_path, O_RDWR | O_CLOEXEC);
    to = open (old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (from >= 0 && to >= 0) {
        off_t left = info.st_size;
        while (left > 0) {
            ssize_t sent = sendfile (to, from, NULL, (size_t)left);
            if (sent <= 0)
                break;
            left -= sent;
        }
        int cut = ftruncate (from, 0);
        (void)cut; /* tried again at the next look */
    }
    if (from >= 0)
        close (from);
    if (to >= 0)
        close (to);
    free (old);
}

static void back_off (rota_service_t *self, int64_t now_ms)
{
    self->failures++;
    self->next_ms = now_ms + self->backoff_ms;
    self->backoff_ms = self->backoff_ms * 2 < BACKOFF_MAX_MS ? self->backoff_ms * 2 : BACKOFF_MAX_MS;
}

/* All descriptors of ours are close-on-exec; the child gets the null device and its log. */
static int spawn (rota_service_t *self)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, usual;
    int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;

    sigemptyset (&none);
    sigemptyset (&usual);
    sigaddset (&usual, SIGPIPE);
    sigaddset (&usual, SIGHUP);
    sigaddset (&usual, SIGINT);
    posix_spawn_file_actions_init (&files);
    posix_spawnattr_init (&attributes);
    int status = posix_spawn_file_actions_addopen (&files, 0, "/dev/null", O_RDONLY, 0);
    if (status == 0)
        status =
            posix_spawn_file_actions_addopen (&files, 1, self->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (status == 0)
        status = posix_spawn_file_actions_adddup2 (&files, 1, 2);
    posix_spawnattr_setsigmask (&attributes, &none);
    posix_spawnattr_setsigdefault (&attributes, &usual);
    posix_spawnattr_setflags (&attributes, (short)flags);
    if (status == 0)
        status = posix_spawn (&self->pid, self->arguments[0], &files, &attributes, self->arguments, environ);
    posix_spawnattr_destroy (&attributes);
    posix_spawn_file_actions_destroy (&files);
    return -status;
}

int rota_service_start (rota_service_t *self, int64_t now_ms, rota_error_t *error)
{
    rota_service_trim_log (self);
    int status = spawn (self);
    self->started_ms = now_ms;
    if (status < 0) {
        self->pid = 0;
        back_off (self, now_ms);
        return rota_error_set (error, status, "the %s can't be started: %s: %s", self->name,
                               self->arguments[0], strerror (-status));
    }
    return 0;
}

/* The last line of the log, without its end. */
static void last_line (const rota_service_t *self, char *ret_line, size_t capacity)
{
    char tail[1024];
    struct stat info;
    int fd = open (self->log_path, O_RDONLY | O_CLOEXEC);

    ret_line[0] = '\0';
    if (fd < 0)
        return;
    off_t from = fstat (fd, &info) == 0 && info.st_size > (off_t)sizeof tail - 1
                     ? info.st_size - (off_t)sizeof tail + 1
                     : 0;
    ssize_t length = pread (fd, tail, sizeof tail - 1, from);
    close (fd);
    while (length > 0 && tail[length - 1] == '\n')
        length--;
    tail[length > 0 ? length : 0] = '\0';
    char *line = strrchr (tail, '\n');
    snprintf (ret_line, capacity, "%.*s", (int)(capacity - 1), line ? line + 1 : tail);
}

void rota_service_ended (rota_service_t *self, int status, int64_t now_ms, rota_error_t *ret_sentence)
{
    char wait[ROTA_CLOCK_DURATION_BYTES], line[256], how[64];

    self->pid = 0;
    if (now_ms - self->started_ms >= SETTLED_AFTER_MS) {
        self->failures = 0;
        self->backoff_ms = BACKOFF_FIRST_MS;
    }
    rota_clock_duration (self->backoff_ms, wait);
    back_off (self, now_ms);
    if (WIFSIGNALED (status))
        snprintf (how, sizeof how, "was ended by signal %d (%s)", WTERMSIG (status),
                  sigabbrev_np (WTERMSIG (status)) ? sigabbrev_np (WTERMSIG (status)) : "?");
    else
        snprintf (how, sizeof how, "ended with code %d", WEXITSTATUS (status));
    last_line (self, line, sizeof line);
    rota_error_set (ret_sentence, 0, "the %s %s and is started again in %s%s%s%s", self->name, how, wait,
                    *line ? " (last line of its log: " : "", line, *line ? ")" : "");
}
