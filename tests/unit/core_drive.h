/* core_drive.h - drives the scheduler's core alone, with a clock that the test moves and hosts that it plays.
 *
 * Names are paths: "a" is a task or an epic, "E/M" a milestone of E. Each act below lets the effects out,
 * checks every invariant and that the counts add up, and fails the test otherwise.
 */
#ifndef ROTA_TEST_CORE_DRIVE_H
#define ROTA_TEST_CORE_DRIVE_H

#include "proto/words.h"
#include "scheduler/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DRIVE_START_MS INT64_C (1800000000000)
enum { DRIVE_LIST = 64, DRIVE_NAMES = 8 };

typedef struct {
    rota_core_t *core;
    rota_core_policy_t policy;
    int64_t now_ms;
    /* What came out since it was last forgotten, which each handing out does first. */
    rota_core_assign_t assigns[DRIVE_LIST];
    rota_core_stop_t stops[DRIVE_LIST];
    rota_core_ended_t endeds[DRIVE_LIST];
    rota_core_event_t events[DRIVE_LIST];
    char reasons[DRIVE_LIST][120]; /* of the events */
    size_t assign_count, stop_count, ended_count, event_count;
    bool moved[ROTA_STATUSES][ROTA_STATUSES]; /* every move since the beginning */
    rota_node_t staged;                       /* the first that is not open yet */
    bool unchecked;                           /* big graphs: the test checks when it wants to */
} drive_t;

/* A policy of round figures: no jitter, backoff 1 s doubling up to 7 s, leases of 10 s and a margin of 1 s,
 * no patience. */
int drive_set_up (void **state);
int drive_tear_down (void **state);
/* A new core under self->policy: everything is forgotten. */
void drive_renew (drive_t *self);
#define DRIVE_TEST(name) cmocka_unit_test_setup_teardown (name, drive_set_up, drive_tear_down)

typedef struct {
    const char *id;
    const char *in; /* its group, or NULL */
    const char *after[DRIVE_NAMES];
    Rota__NodeKind kind;     /* 0 = task */
    Rota__TaskStatus status; /* 0 = pending */
    const char *agent;       /* NULL = any */
    const char *needs;       /* a capability besides "run", or NULL */
    uint32_t source, complexity;
    uint32_t attempts; /* 0 = 3 */
    int32_t priority;
    bool approval, silent; /* silent: as its group */
    uint8_t wants;         /* ROTA_WANTS_* */
    const char *touches;   /* globs, one a line */
    int64_t not_before_ms;
} drive_node_t;
#define ADD(self, ...) drive_add ((self), &(drive_node_t){__VA_ARGS__})
#define STAGE(self, ...) drive_stage ((self), &(drive_node_t){__VA_ARGS__})
#define EPIC(self, name, ...) ADD (self, .id = name, .kind = NODE (EPIC), ##__VA_ARGS__)
#define MILESTONE(self, name, epic, ...)                                                                     \
    ADD (self, .id = name, .in = epic, .kind = NODE (MILESTONE), ##__VA_ARGS__)

rota_node_t drive_stage (drive_t *self, const drive_node_t *node); /* linked, not open */
void drive_open_staged (drive_t *self);
rota_node_t drive_add (drive_t *self, const drive_node_t *node);
rota_node_t drive_find (const drive_t *self, const char *name);
rota_core_node_t drive_get (const drive_t *self, const char *name);
/* As a later import of the same roadmap does it: the edge, then the definition. */
void drive_link (drive_t *self, const char *prerequisite, const char *name);
void drive_unlink (drive_t *self, const char *prerequisite, const char *name);

/* A host of kind "exec" that can run commands; `also` is one more capability or NULL. */
rota_agent_t drive_join (drive_t *self, const char *name, uint32_t slots, const char *also);
/* A host of another kind; `can` are its capabilities, NULL-terminated. */
rota_agent_t drive_join_as (drive_t *self, const char *name, const char *kind, uint32_t slots,
                            const char *const *can);
/* The same incarnation (1), or a later one, registers with what it holds. */
rota_agent_t drive_join_again (drive_t *self, const char *name, uint32_t slots, uint8_t incarnation,
                               const rota_held_t *held, size_t held_count);
void drive_heartbeat (drive_t *self, rota_agent_t agent, const rota_held_t *held, size_t held_count);

/* Time passes in one step; timers act. */
void drive_wait (drive_t *self, int64_t ms);
/* Hands out and says how many; all are accepted at once. */
size_t drive_dispatch (drive_t *self);
/* The same, but the hosts are silent. */
size_t drive_dispatch_unheard (drive_t *self);
/* Hands out and expects these ids, in this order, and none else. */
void drive_expect_handed_out (drive_t *self, const char *ids);
/* A result of the newest attempt, or of the one that is named. */
int drive_report (drive_t *self, const char *name, Rota__ResultClass class);
/* A verdict of the review that is under way. */
int drive_judge (drive_t *self, const char *name, bool approved);
int drive_report_of (drive_t *self, const char *name, uint32_t attempt, Rota__ResultClass class);
/* `name` alone is handed out, and ends so. */
void drive_work (drive_t *self, const char *name, Rota__ResultClass class);
int drive_control (drive_t *self, const char *name, Rota__ControlVerb verb);
void drive_forget_effects (drive_t *self);
bool drive_was_event (const drive_t *self, Rota__EventType type, const char *name);
/* After acts on self->core itself: lets the effects out and checks. */
void drive_let_out (drive_t *self);
void drive_check (const drive_t *self);

void drive_expect_status (const drive_t *self, const char *name, Rota__TaskStatus status, int line);
void drive_expect_place (const drive_t *self, const char *name, rota_place_t place, int line);
#define EXPECT_STATUS(self, name, status) drive_expect_status (self, name, STATUS (status), __LINE__)
#define EXPECT_PLACE(self, name, place) drive_expect_place (self, name, ROTA_PLACE_##place, __LINE__)

#endif
