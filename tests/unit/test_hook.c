/* Which events hooks are told, and as what. */
#include "proto/words.h"
#include "telemetry/hook.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

static const struct {
    Rota__EventType type;
    Rota__TaskStatus to; /* of a task that moves */
    Rota__Phase phase;
    const char *kind;
} CASES[] = {
    {EVENT (TASK_MOVED), STATUS (BLOCKED), PHASE (WORK), "blocked"},
    {EVENT (TASK_MOVED), STATUS (FAILED), PHASE (WORK), "failed"},
    {EVENT (TASK_MOVED), STATUS (IN_PROGRESS), PHASE (APPROVAL), "human"},
    {EVENT (TASK_MOVED), STATUS (IN_PROGRESS), PHASE (WORK), NULL},
    {EVENT (TASK_MOVED), STATUS (DONE), PHASE (APPROVAL), NULL},
    {EVENT (TASK_MOVED), STATUS (PENDING), PHASE (WORK), NULL},
    {EVENT (TASK_MOVED), STATUS (CANCELLED), PHASE (WORK), NULL},
    {EVENT (BUDGET_WARNING), 0, 0, "budget"},
    {EVENT (BUDGET_EXHAUSTED), 0, 0, "budget"},
    {EVENT (BUDGET_RELEASED), 0, 0, "budget"},
    {EVENT (BUDGET_CHANGED), 0, 0, "budget"},
    {EVENT (COORDINATOR_CHANGED), 0, 0, "failover"},
    {EVENT (ROADMAP_SETTLED), 0, 0, "finished"},
    {EVENT (DISK_LOW), 0, 0, "disk"},
    {EVENT (DISK_RECOVERED), 0, 0, "disk"},
    {EVENT (TARGET_MOVED), 0, 0, "moved"},
};
#define CASE_COUNT (sizeof CASES / sizeof *CASES)

static const char *kind_of (Rota__EventType type, Rota__TaskStatus to, Rota__Phase phase)
{
    Rota__Event event = ROTA__EVENT__INIT;
    event.type = type;
    event.has_to_status = event.has_phase = true;
    event.to_status = to;
    event.phase = phase;
    return rota_hook_kind (&event);
}

static void each_event_has_the_kind_that_is_documented (void **state)
{
    (void)state;
    for (size_t i = 0; i < CASE_COUNT; i++) {
        const char *kind = kind_of (CASES[i].type, CASES[i].to, CASES[i].phase);
        if (!CASES[i].kind ? kind != NULL : !kind || strcmp (kind, CASES[i].kind) != 0)
            fail_msg ("case %zu: %s", i, kind ? kind : "none");
    }
}

/* An event that is new in the protocol belongs into the table above if anybody is to be told of it. */
static void nobody_is_told_of_any_other_event (void **state)
{
    (void)state;
    for (unsigned i = 0; i < rota__event_type__descriptor.n_values; i++) {
        Rota__EventType type = (Rota__EventType)rota__event_type__descriptor.values[i].value;
        bool known = false;
        for (size_t at = 0; at < CASE_COUNT && !known; at++)
            known = CASES[at].type == type;
        if (!known && kind_of (type, STATUS (FAILED), PHASE (APPROVAL)))
            fail_msg ("%s", rota__event_type__descriptor.values[i].name);
    }
    assert_null (kind_of ((Rota__EventType)4711, 0, 0));
}

static void each_kind_can_be_asked_for_and_no_other (void **state)
{
    (void)state;
    char text[256];
    for (size_t i = 0; i <= CASE_COUNT; i++) {
        const char *kind = i == CASE_COUNT ? "fialed" : CASES[i].kind;
        rota_settings_t *settings = NULL;
        rota_error_t error;
        if (!kind)
            continue;
        int size = snprintf (text, sizeof text, "telemetry: {hook_events: [%s]}\n", kind);
        assert_int_equal (rota_settings_parse ("test", text, (size_t)size, NULL, stderr, &settings, &error),
                          0);
        int r = rota_hooks_check (settings, &error);
        if (i == CASE_COUNT ? r >= 0 : r < 0)
            fail_msg ("%s: %d", kind, r);
        rota_settings_destroy (&settings);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (each_event_has_the_kind_that_is_documented),
        cmocka_unit_test (nobody_is_told_of_any_other_event),
        cmocka_unit_test (each_kind_can_be_asked_for_and_no_other),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
