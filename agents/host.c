#include "agents/host.h"

#include "agents/host_internal.h"
#include "bus/clock.h"
#include "bus/log.h"
#include "bus/names.h"
#include "bus/rundir.h"
#include "bus/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_AGAIN_MS 50
#define SAY_AGAIN_MS 30000
#define ACKNOWLEDGE_MS 3000 /* how long a leaving host waits for the scheduler's acknowledgement */
#define LEAVE_EXTRA_MS 10000
#define WALK_EVERY_MS 3600000
#define CHECK_AGAIN_MS 60000
#define WALK_STEP_MS 20
#define ARENA_BYTES (64u << 20) /* an ASSIGN of 16 MiB, decoded */

/* ---- leaving */

static size_t unacknowledged (const rota_agent_t *self)
{
    return self->holds.count - rota_hold_running (&self->holds);
}

void rota_agent_fail (rota_agent_t *self, int status)
{
    self->done = true;
    self->status = status;
}

static void leave (rota_agent_t *self, int64_t now_ms)
{
    uint32_t grace_ms = self->stops > 1 ? 0 : self->grace_ms;
    rota_log (ROTA_LOG_INFO, "agent.leaving", "running=%zu grace_ms=%u", rota_hold_running (&self->holds),
              grace_ms);
    for (size_t i = 0; i < self->holds.count; i++) {
        rota_agent_stop_attempt (self, self->holds.list[i], grace_ms);
        self->holds.list[i]->reported_ms = INT64_MIN; /* once more, now that time is short */
    }
    self->report_at = INT64_MIN;
    self->leave_at = now_ms + grace_ms + LEAVE_EXTRA_MS;
    if (self->registered)
        self->heartbeat_at = INT64_MIN; /* says that we take no more */
}

/* Done when all results are handed in; the spool keeps what can't be. */
static void see_about_leaving (rota_agent_t *self, int64_t now_ms)
{
    if (!self->stops)
        return;
    if (rota_hold_running (&self->holds) == 0) {
        if (unacknowledged (self) == 0 || !self->registered)
            self->done = true;
        else if (self->leave_at > now_ms + ACKNOWLEDGE_MS)
            self->leave_at = now_ms + ACKNOWLEDGE_MS;
    }
    if (now_ms >= self->leave_at)
        self->done = true;
}

/* ---- beginning */

static int open_lock (rota_agent_t *self)
{
    char path[PATH_MAX];
    if (snprintf (path, sizeof path, "%s/lock", self->spool) >= (int)sizeof path)
        return -ENAMETOOLONG;
    int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock (fd, LOCK_EX | LOCK_NB) < 0) {
        int code = errno == EWOULDBLOCK ? -EAGAIN : -errno;
        close (fd);
        return code;
    }
    return fd;
}

/* The spool is ours when neither another host nor the spawner of a dead one can start anything in it. */
static void begin (rota_agent_t *self, int64_t now_ms)
{
    int fd = open_lock (self);
    if (fd == -EAGAIN) {
        if (now_ms >= self->say_at) {
            rota_log (ROTA_LOG_WARNING, "agent.waiting", "name=%s for=\"another host of this name to end\"",
                      self->name);
            self->say_at = now_ms + SAY_AGAIN_MS;
        }
        self->lock_at = now_ms + LOCK_AGAIN_MS;
        return;
    }
    self->lock_at = INT64_MAX;
    self->say_at = now_ms + ROTA_AGENT_SAY_AFTER_MS;
    self->lock_fd = fd;
    int status = fd < 0 ? fd : rota_spawner_hold (self->spawner, fd);
    if (status == 0) {
        rota_fence_load (&self->fence, self->spool);
        status = rota_agent_take_over (self);
    }
    if (status < 0) {
        rota_log (ROTA_LOG_ERROR, "spool.unusable", "directory=%s reason=\"%s\"", self->spool,
                  strerror (-status));
        rota_agent_fail (self, status);
        return;
    }
    rota_agent_connect (self);
}

/* ---- the loop */

static const char *missing (const rota_agent_t *self)
{
    return !self->swept || rota_hold_must_wait (&self->holds) ? "what an earlier host left to end"
           : !self->peer || !rota_peer_is_ready (self->peer)  ? "a broker"
                                                              : "a scheduler";
}

static void say_what_is_missing (rota_agent_t *self, int64_t now_ms)
{
    if (now_ms < self->say_at || self->registered)
        return;
    rota_log (ROTA_LOG_WARNING, "agent.waiting", "name=%s for=\"%s\" reason=\"%s\"", self->name,
              missing (self), self->peer ? rota_peer_why (self->peer) : "");
    self->say_at = now_ms + SAY_AGAIN_MS;
}

static void describe (void *owner, char *ret_text, size_t capacity)
{
    const rota_agent_t *self = owner;
    snprintf (ret_text, capacity, "%s: %zu of %u slots busy%s%s%s%s", self->name,
              rota_hold_running (&self->holds), self->slots, self->registered ? "" : ", waits for ",
              self->registered ? "" : missing (self), self->check.problem[0] ? ", can't work: " : "",
              self->check.problem);
}

/* What is kept for less than an hour is looked for as often. */
static void walk_logs (rota_agent_t *self, int64_t now_ms)
{
    bool more = self->walk && rota_logs_walk_step (self->walk, rota_clock_retention_ms (&self->anchor));
    int64_t every_ms = rota_setting_duration_ms (self->settings, ROTA_SETTING_AGENTS_LOG_RETENTION);
    if (every_ms > WALK_EVERY_MS)
        every_ms = WALK_EVERY_MS;
    self->walk_at = now_ms + (more ? WALK_STEP_MS : every_ms);
}

static int64_t earliest (const int64_t *times, size_t count)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < count; i++)
        if (times[i] < first)
            first = times[i];
    return first;
}

/* What keeps the program from working is said at once, and looked at again until somebody has mended it. */
static void check (rota_agent_t *self, int64_t now_ms)
{
    char before[sizeof self->check.problem];
    memcpy (before, self->check.problem, sizeof before);
    self->adapter->check (&self->context, &self->check);
    const char *problem = self->check.problem;
    self->check_at = problem[0] ? now_ms + CHECK_AGAIN_MS : INT64_MAX;
    if (strcmp (problem, before) == 0)
        return;
    if (problem[0])
        rota_log (ROTA_LOG_ERROR, "agent.problem", "kind=%s reason=\"%s\"", self->kind, problem);
    else
        rota_log (ROTA_LOG_INFO, "agent.mended", "kind=%s version=\"%s\"", self->kind, self->check.version);
    self->registered = false;
    self->register_at = INT64_MIN;
}

void rota_agent_look (rota_agent_t *self)
{
    int64_t now_ms = rota_clock_monotonic_ms ();

    if (self->check_at <= now_ms)
        check (self, now_ms);

    if (self->lock_at <= now_ms)
        begin (self, now_ms);
    if (self->sweep_at <= now_ms)
        rota_agent_sweep (self);
    bool ready = self->peer && rota_peer_is_ready (self->peer);
    bool may_register = ready && self->swept && !rota_hold_must_wait (&self->holds);
    if (!self->registered && may_register && self->register_at <= now_ms)
        rota_agent_register (self);
    /* Reports go first: what they say is no longer to be listed as running. */
    if (self->registered && ready && self->report_at <= now_ms)
        rota_agent_report (self, now_ms);
    if (self->registered && ready && self->heartbeat_at <= now_ms)
        rota_agent_heartbeat (self);
    if (self->walk_at <= now_ms)
        walk_logs (self, now_ms);
    say_what_is_missing (self, now_ms);
    see_about_leaving (self, now_ms);
    const int64_t times[] = {self->lock_at,
                             self->sweep_at,
                             may_register && !self->registered ? self->register_at : INT64_MAX,
                             self->registered && ready ? self->report_at : INT64_MAX,
                             self->registered && ready ? self->heartbeat_at : INT64_MAX,
                             self->walk_at,
                             self->check_at,
                             self->stops ? self->leave_at : INT64_MAX,
                             self->registered ? INT64_MAX : self->say_at};
    rota_alarm_set (self->alarm, earliest (times, sizeof times / sizeof *times));
    if (self->done)
        rota_agent_stop (self); /* only a handler of the loop itself can end it */
}

static void on_alarm (void *owner)
{
    rota_agent_look (owner);
}

static int on_spawner (zloop_t *loop, zmq_pollitem_t *item, void *argument)
{
    rota_agent_t *self = argument;
    (void)loop;
    (void)item;
    rota_agent_on_ends (self);
    return self->done ? -1 : 0;
}

static int on_stop (zloop_t *loop, zmq_pollitem_t *item, void *argument)
{
    rota_agent_t *self = argument;
    uint64_t count;
    (void)loop;
    (void)item;
    if (self->done)
        return -1;
    if (read (self->stop_fd, &count, sizeof count) == (ssize_t)sizeof count) {
        self->stops += (unsigned)(count > 2 ? 2 : count);
        leave (self, rota_clock_monotonic_ms ());
    }
    rota_agent_look (self);
    return self->done ? -1 : 0;
}

int rota_agent_run (rota_agent_t *self)
{
    if (rota_ready_attach (self->ready, self->loop, describe, self) < 0)
        return -ENOMEM;
    rota_agent_look (self);
    while (!self->done) {
        /* Ends by a handler's -1 when we are done, by a signal at any time. */
        zloop_start (self->loop);
        rota_agent_look (self);
    }
    rota_log (ROTA_LOG_INFO, "agent.left", "name=%s running=%zu unacknowledged=%zu", self->name,
              rota_hold_running (&self->holds), unacknowledged (self));
    return self->status;
}

void rota_agent_stop (rota_agent_t *self)
{
    const uint64_t one = 1;
    ssize_t ignored = write (self->stop_fd, &one, sizeof one);
    (void)ignored;
}

void rota_agent_counts (const rota_agent_t *self, rota_agent_counts_t *ret_counts)
{
    *ret_counts = (rota_agent_counts_t){
        .running = rota_hold_running (&self->holds),
        .unacknowledged = unacknowledged (self),
        .accepted = self->accepted,
        .finished = self->finished,
        .registered = self->registered,
    };
}

/* ---- the object */

static int make_directories (rota_agent_t *self, rota_error_t *error)
{
    char encoded[ROTA_ENCODED_MAX_BYTES], path[PATH_MAX];
    rota_id_encode (self->name, strlen (self->name), encoded);
    int status = 0;
    if (snprintf (self->spool, sizeof self->spool, "%s/spool/%s", self->state_dir, encoded) >=
            PATH_MAX - 256 ||
        snprintf (path, sizeof path, "%s/logs", self->state_dir) >= PATH_MAX)
        status = -ENAMETOOLONG;
    if (status == 0 && mkdir (path, 0700) < 0 && errno != EEXIST)
        status = -errno;
    if (status == 0) {
        *strrchr (self->spool, '/') = 0;
        if (mkdir (self->spool, 0700) < 0 && errno != EEXIST)
            status = -errno;
        self->spool[strlen (self->spool)] = '/';
    }
    if (status == 0 && mkdir (self->spool, 0700) < 0 && errno != EEXIST)
        status = -errno;
    return status < 0 ? rota_error_set (error, status, "can't use the state directory %s: %s",
                                        self->state_dir, strerror (-status))
                      : 0;
}

static int find_endpoints (const rota_agent_config_t *config, rota_agent_t *self, rota_error_t *error)
{
    char rundir[ROTA_RUNDIR_PATH_BYTES];
    rota_rundir_endpoints_t endpoints;
    if (config->endpoints) {
        self->endpoints = strdup (config->endpoints);
        return self->endpoints ? 0 : -ENOMEM;
    }
    int status = rota_rundir (self->state_dir, true, rundir, sizeof rundir, error);
    if (status < 0)
        return status;
    rota_rundir_endpoints (rundir, &endpoints);
    self->endpoints = strdup (endpoints.agent);
    return self->endpoints ? 0 : -ENOMEM;
}

static int set_up_names (const rota_agent_config_t *config, rota_agent_t *self, rota_error_t *error)
{
    const char *reason;
    self->state_dir = realpath (config->state_dir, NULL);
    if (!self->state_dir)
        return rota_error_set (error, -errno, "%s: %s", config->state_dir, strerror (errno));
    if (gethostname (self->host, sizeof self->host - 1) < 0)
        strcpy (self->host, "localhost");
    if (!getcwd (self->directory, sizeof self->directory))
        strcpy (self->directory, "/");
    self->kind = strdup (config->kind);
    int size = config->name ? asprintf (&self->name, "%s", config->name)
                            : asprintf (&self->name, "%s@%s", config->kind, self->host);
    if (size < 0)
        self->name = NULL;
    self->exec_command = config->exec_command ? strdup (config->exec_command) : NULL;
    if (!self->kind || !self->name || (config->exec_command && !self->exec_command))
        return rota_error_set (error, -ENOMEM, "out of memory");
    if (rota_id_check (self->name, strlen (self->name), &reason) < 0)
        return rota_error_set (error, -EINVAL, "the agent's name: %s", reason);
    return 0;
}

/* What it is to the scheduler, and whose limits it meets. */
static int set_up_account (rota_agent_t *self)
{
    bool described = self->adapter->registers_as != NULL;
    if (described) {
        free (self->kind);
        self->kind = strdup (self->adapter->registers_as (&self->context));
    }
    if (self->kind && self->adapter->paid &&
        asprintf (&self->account, "%s/%s", self->kind, described ? "default" : self->context.account) < 0)
        self->account = NULL;
    return self->kind && (self->account || !self->adapter->paid) ? 0 : -ENOMEM;
}

static int set_up (const rota_agent_config_t *config, rota_agent_t *self, rota_error_t *error)
{
    self->adapter = rota_adapter_find (config->kind);
    if (!self->adapter)
        return rota_error_set (error, -EINVAL, "there is no agent kind \"%s\"; this version has: %s",
                               config->kind, rota_adapter_kinds ());
    if (config->slots < 1 || config->slots > ROTA_AGENT_SLOTS_LIMIT)
        return rota_error_set (error, -EINVAL, "the number of slots is from 1 to %d", ROTA_AGENT_SLOTS_LIMIT);
    int status = set_up_names (config, self, error);
    if (status == 0)
        status = find_endpoints (config, self, error);
    if (status == 0)
        status = make_directories (self, error);
    if (status < 0)
        return status;
    self->slots = config->slots;
    self->settings = config->settings;
    self->curve = config->curve;
    self->spawner = config->spawner;
    self->ready = config->ready;
    self->grace_ms = (uint32_t)rota_setting_duration_ms (self->settings, ROTA_SETTING_SCHEDULER_GRACE);
    const char *rules = rota_setting_text (self->settings, ROTA_SETTING_AGENTS_LIMITS);
    self->limits = rota_limits_new (*rules ? rules : NULL, error);
    if (!self->limits)
        return -EINVAL;
    self->context = (rota_adapter_context_t){.settings = self->settings,
                                             .agent = self->name,
                                             .exec_command = self->exec_command,
                                             .directory = self->directory,
                                             .state_dir = self->state_dir,
                                             .account = config->account ? config->account : "default",
                                             .login = config->login,
                                             .credentials = config->credentials,
                                             .trust = config->trust,
                                             .limits = self->limits};
    if (self->adapter->open) {
        self->context.state = self->adapter->open (&self->context, error);
        if (!self->context.state)
            return -EINVAL;
    }
    if (set_up_account (self) < 0)
        return rota_error_set (error, -ENOMEM, "out of memory");
    check (self, rota_clock_monotonic_ms ());
    if (rota_setting_choice (self->settings, ROTA_SETTING_AGENTS_CGROUP) == 0)
        rota_cgroup_find_parent (self->cgroup_parent);
    rota_bus_start ();
    rota_instance_new (self->conversation);
    self->walk = rota_logs_walk_new (
        self->state_dir, rota_setting_duration_ms (self->settings, ROTA_SETTING_AGENTS_LOG_RETENTION));
    self->arena = rota_arena_new (ARENA_BYTES);
    self->loop = zloop_new ();
    self->alarm = self->loop ? rota_alarm_new (self->loop, on_alarm, self) : NULL;
    self->stop_fd = eventfd (0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!self->walk || !self->arena || !self->alarm || self->stop_fd < 0)
        return rota_error_set (error, -ENOMEM, "no memory or no descriptor left");
    zloop_set_nonstop (self->loop, true);
    self->stop_item = (zmq_pollitem_t){.fd = self->stop_fd, .events = ZMQ_POLLIN};
    self->spawner_item = (zmq_pollitem_t){.fd = rota_spawner_fd (self->spawner), .events = ZMQ_POLLIN};
    if (zloop_poller (self->loop, &self->stop_item, on_stop, self) < 0 ||
        zloop_poller (self->loop, &self->spawner_item, on_spawner, self) < 0)
        return rota_error_set (error, -ENOMEM, "out of memory");
    return 0;
}

rota_agent_t *rota_agent_new (const rota_agent_config_t *config, int *ret_status, rota_error_t *error)
{
    rota_agent_t *self = calloc (1, sizeof *self);
    int status = self ? 0 : rota_error_set (error, -ENOMEM, "out of memory");
    if (self) {
        int64_t now_ms = rota_clock_monotonic_ms ();
        self->stop_fd = self->lock_fd = -1;
        self->anchor = rota_clock_anchor ();
        self->lock_at = self->register_at = INT64_MIN;
        self->sweep_at = self->heartbeat_at = self->report_at = self->leave_at = self->check_at = INT64_MAX;
        self->walk_at = now_ms + WALK_EVERY_MS / 60;
        self->say_at = now_ms + ROTA_AGENT_SAY_AFTER_MS;
        status = set_up (config, self, error);
        if (status < 0)
            rota_agent_destroy (&self);
    }
    if (ret_status)
        *ret_status = status;
    return self;
}

void rota_agent_destroy (rota_agent_t **self_p)
{
    rota_agent_t *self = *self_p;
    if (!self)
        return;
    rota_peer_destroy (&self->peer);
    rota_alarm_destroy (&self->alarm);
    zloop_destroy (&self->loop);
    rota_hold_clear (&self->holds);
    rota_logs_walk_destroy (&self->walk);
    rota_arena_destroy (&self->arena);
    if (self->stop_fd >= 0)
        close (self->stop_fd);
    if (self->lock_fd >= 0)
        close (self->lock_fd);
    free (self->state_dir);
    free (self->name);
    free (self->kind);
    free (self->endpoints);
    free (self->exec_command);
    free (self->account);
    if (self->context.state)
        self->adapter->close (self->context.state);
    rota_limits_destroy (&self->limits);
    free (self);
    *self_p = NULL;
}
