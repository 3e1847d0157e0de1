/* checks.c - gates: shell commands in the clone, one by one; and the exit criteria, see criteria.c. */
#include "agents/workspace_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VARIABLES_MAX 256

/* The end of what a command prints; all of it is passed on. */
typedef struct {
    char bytes[ROTA_WORKSPACE_OUTPUT_BYTES];
    size_t used;
} tail_t;

static void take (void *context, const char *bytes, size_t size)
{
    tail_t *self = context;
    fwrite (bytes, 1, size, stdout);
    fflush (stdout);
    if (size > sizeof self->bytes) {
        bytes += size - sizeof self->bytes;
        size = sizeof self->bytes;
    }
    if (self->used + size > sizeof self->bytes) {
        size_t left = sizeof self->bytes - size;
        memmove (self->bytes, self->bytes + self->used - left, left);
        self->used = left;
    }
    memcpy (self->bytes + self->used, bytes, size);
    self->used += size;
}

/* ---- a command */

static bool is_told (const char *variable)
{
    static const char *const SECRET[] = {"TOKEN", "KEY", "SECRET", "PASSWORD"};
    char name[128];
    if (strncmp (variable, "ROTA_", 5) != 0)
        return false;
    snprintf (name, sizeof name, "%.*s", (int)strcspn (variable, "="), variable);
    for (size_t i = 0; i < sizeof SECRET / sizeof *SECRET; i++)
        if (strstr (name, SECRET[i]))
            return false;
    return true;
}

static char **make_environment (const rota_workspace_t *self)
{
    rota_pool_t *pool = self->pool;
    char **list = rota_pool_alloc (pool, (VARIABLES_MAX + 8) * sizeof *list);
    const char *path = getenv ("PATH");
    size_t count = 0;
    if (!list)
        return NULL;
    list[count++] = rota_pool_format (pool, "PATH=%s", path ? path : "/usr/local/bin:/usr/bin:/bin");
    list[count++] = rota_pool_format (pool, "HOME=%s", self->home);
    list[count++] = self->sandbox.isolated ? rota_pool_format (pool, "TMPDIR=/tmp")
                                           : rota_pool_format (pool, "TMPDIR=%s/tmp", self->clone.ours);
    list[count++] = rota_pool_format (pool, "LANG=C.UTF-8");
    list[count++] = rota_pool_format (pool, "ROTA_CLONE=%s", self->clone.path);
    for (size_t i = 0; environ[i] && count < VARIABLES_MAX; i++)
        if (is_told (environ[i]))
            list[count++] = environ[i];
    for (size_t i = 0; i < count; i++)
        if (!list[i])
            return NULL;
    return list;
}

int rota_workspace_run_command (rota_workspace_t *self, const char *command, int64_t timeout_ms,
                                rota_child_take_t taken_by, void *context, rota_child_end_t *ret_end,
                                rota_error_t *error)
{
    char *const shell[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
    const rota_child_t child = {
        .argv = rota_sandbox_command (&self->sandbox, shell),
        .environment = make_environment (self),
        .directory = self->clone.path,
        .signals = self->sandbox.isolated ? ROTA_CHILD_DEAF : ROTA_CHILD_EXPOSED,
        .input_fd = -1,
        .held_fd = -1,
        .take = taken_by,
        .context = context,
        .both = true,
        .own_group = true,
        .timeout_ms = timeout_ms,
        .stop = &self->stop,
    };
    if (!child.argv || !child.environment)
        return rota_error_set (error, -ENOMEM, "no memory");
    int status = rota_child_run (&child, ret_end, error);
    if (rota_child_sweep () < 0)
        fputs ("rota-agent: something that a command started can't be ended\n", stderr);
    return status == 0 && self->stop.wanted ? rota_error_set (error, -EINTR, "told to stop") : status;
}

/* ---- gates */

static int run_once (rota_workspace_t *self, const rota_workspace_gate_t *gate, tail_t *tail,
                     rota_child_end_t *end, rota_error_t *error)
{
    *tail = (tail_t){.used = 0};
    printf ("rota-agent: gate %s: %s\n", gate->name, gate->command);
    int status = rota_workspace_run_command (self, gate->command, gate->timeout_ms, take, tail, end, error);
    if (status == 0 && (end->timed_out || end->wait_status))
        printf ("rota-agent: gate %s: %s %d\n", gate->name,
                end->timed_out ? "it took too long," : "exit code", rota_child_status (end));
    fflush (stdout);
    return status;
}

static void tell_gate (rota_workspace_t *self, const char *name, const char *state,
                       const rota_child_end_t *end, const char *output, size_t output_bytes)
{
    json_t *gate = json_object ();
    json_object_set_new (gate, "name", rota_workspace_text (name, strlen (name)));
    json_object_set_new (gate, "state", json_string (state));
    if (end)
        json_object_set_new (gate, "exit_code", json_integer (rota_child_status (end)));
    json_object_set_new (gate, "took_ms", json_integer (end ? end->took_ms : 0));
    json_object_set_new (gate, "output", rota_workspace_text (output, output_bytes));
    json_array_append_new (json_object_get (self->record, "gates"), gate);
}

int rota_workspace_run_gates (rota_workspace_t *self, const char **ret_failed, rota_error_t *error)
{
    *ret_failed = NULL;
    for (size_t i = 0; i < self->spec.gate_count; i++) {
        const rota_workspace_gate_t *gate = &self->spec.gates[i];
        rota_child_end_t end = {0};
        tail_t tail = {.used = 0};
        if (!gate->command) {
            tell_gate (self, gate->name, "not_checkable", NULL, "", 0);
            continue;
        }
        int64_t runs = 0;
        int status;
        /* What hangs would hang again, and cost the time again. */
        do {
            status = run_once (self, gate, &tail, &end, error);
        } while (status == 0 && end.wait_status && !end.timed_out && runs++ < self->spec.gate_retries);
        if (status < 0)
            return status;
        const char *state = end.timed_out     ? "timed_out"
                            : end.wait_status ? "failed"
                            : runs            ? "flaky"
                                              : "passed";
        tell_gate (self, gate->name, state, &end, tail.bytes, tail.used);
        bool stops =
            end.wait_status || (runs && self->spec.flaky_fails && self->spec.step == ROTA_WORKSPACE_MERGE);
        if (stops && !*ret_failed)
            *ret_failed = gate->name;
    }
    return 0;
}
