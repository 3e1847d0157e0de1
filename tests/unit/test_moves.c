/* The table of moves: what it allows, that everything else is refused, and that no row is dead. */
#include "proto/envelope.h"
#include "scheduler/core_internal.h"
#include "tests/unit/core_drive.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST = STATUS (PENDING), LAST = STATUS (CANCELLED) };

static const struct {
    uint8_t from, to;
} TABLE[] = {
#define MOVE(from, to, when) {STATUS (from), STATUS (to)},
#include "scheduler/moves.def"
};
#define ROWS (sizeof TABLE / sizeof TABLE[0])

/* Said a second time, as design section 4 has it: whoever changes the table changes both. */
/* clang-format off */
static const char *const ALLOWED[] = {
    /*                          to: P I R r N D B F C */
    [STATUS (PENDING)]           = ". x . . . . x x x",
    [STATUS (IN_PROGRESS)]       = "x x x . x x x x x",
    [STATUS (NEEDS_REVIEW)]      = ". x . x x x x . x",
    [STATUS (IN_REVIEW)]         = ". x x . x x x . x",
    [STATUS (NEEDS_IMPROVEMENT)] = ". x . . . . x x x",
    [STATUS (DONE)]              = "x . . . . . . . .",
    [STATUS (BLOCKED)]           = "x x x . x x . . x",
    [STATUS (FAILED)]            = "x . . . . . . . x",
    [STATUS (CANCELLED)]         = "x . . . . . . . .",
};
/* clang-format on */

static bool is_in_table (unsigned from, unsigned to)
{
    for (size_t i = 0; i < ROWS; i++)
        if (TABLE[i].from == from && TABLE[i].to == to)
            return true;
    return false;
}

static void the_table_says_what_the_design_says (void **state)
{
    (void)state;
    for (unsigned from = FIRST; from <= LAST; from++) {
        const char *row = ALLOWED[from];
        for (unsigned to = FIRST; to <= LAST; to++)
            if (is_in_table (from, to) != (row[2 * (to - FIRST)] == 'x'))
                fail_msg ("%s -> %s", rota_status_name (from), rota_status_name (to));
    }
}

static void no_row_is_there_twice (void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = i + 1; j < ROWS; j++)
            assert_false (TABLE[i].from == TABLE[j].from && TABLE[i].to == TABLE[j].to);
}

static void what_is_not_in_the_table_is_not_allowed (void **state)
{
    (void)state;
    for (unsigned from = 0; from < 32; from++)
        for (unsigned to = 0; to < 32; to++)
            assert_int_equal (rota_core_move_allowed (from, to), is_in_table (from, to));
}

/* True when the process ended by an assertion. */
static bool dies_when_it_moves (drive_t *self, unsigned to)
{
    fflush (NULL);
    pid_t pid = fork ();
    assert_true (pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        int null = open ("/dev/null", O_WRONLY | O_CLOEXEC);
        setrlimit (RLIMIT_CORE, &none);
        if (null >= 0)
            dup2 (null, STDERR_FILENO);
        signal (SIGABRT, SIG_DFL);
        rota_core_move (self->core, 0, to, 0, "not in the table");
        _exit (0);
    }
    int status = 0;
    assert_int_equal (waitpid (pid, &status, 0), pid);
    return WIFSIGNALED (status) && WTERMSIG (status) == SIGABRT;
}

/* A new core with one task "a" that stands there, brought there as it would be in life. */
static void bring_to (drive_t *self, unsigned status, bool approval)
{
    drive_renew (self);
    drive_join (self, "host", 1, NULL);
    if (status == STATUS (IN_PROGRESS)) {
        ADD (self, .id = "a", .attempts = 1, .approval = approval);
        drive_expect_handed_out (self, "a");
    } else if (status == STATUS (IN_REVIEW)) {
        ADD (self, .id = "a", .status = STATUS (NEEDS_REVIEW));
        rota_core_move (self->core, 0, STATUS (IN_REVIEW), PHASE (REVIEW), NULL);
    } else {
        ADD (self, .id = "a", .status = status, .approval = approval);
    }
}

static void bring_to_life (drive_t *self, uint8_t wants, bool approval)
{
    static const char *const CAN[] = {"run", "gate", "merge", "review", NULL};
    self->policy.review_rounds = 1 + (uint32_t)approval;
    drive_renew (self);
    drive_join_as (self, "host", "exec", 1, CAN);
    ADD (self, .id = "a", .wants = wants, .approval = approval);
}

static void the_core_refuses_every_move_that_is_not_in_the_table (void **state)
{
    drive_t *self = *state;
    for (unsigned from = FIRST; from <= LAST; from++) {
        bring_to (self, from, false);
        for (unsigned to = 0; to <= LAST; to++)
            if (!is_in_table (from, to) && !dies_when_it_moves (self, to))
                fail_msg ("%s -> %s was made", rota_status_name (from), rota_status_name (to));
    }
}

/* ------------------------------------------------------------------------------------ no dead rows */

static void every_row_can_be_reached_and_from_everywhere_one_can_be_done (void **state)
{
    (void)state;
    bool reached[ROTA_STATUSES] = {[STATUS (PENDING)] = true}, ends[ROTA_STATUSES] = {[STATUS (DONE)] = true};
    for (size_t round = 0; round < ROTA_STATUSES; round++)
        for (size_t i = 0; i < ROWS; i++) {
            reached[TABLE[i].to] |= reached[TABLE[i].from];
            ends[TABLE[i].from] |= ends[TABLE[i].to];
        }
    for (size_t i = 0; i < ROWS; i++)
        if (!reached[TABLE[i].from])
            fail_msg ("nothing leads to %s", rota_status_name (TABLE[i].from));
    for (unsigned status = FIRST; status <= LAST; status++)
        if (!ends[status])
            fail_msg ("nothing leads from %s to done", rota_status_name (status));
}

/* Allowed by the design; nothing that can be done to a task needs it so far. */
static bool is_in_reserve (unsigned from, unsigned to)
{
    return to == STATUS (FAILED) && from != STATUS (IN_PROGRESS);
}

static const Rota__ControlVerb VERBS[] = {VERB (CANCEL), VERB (SKIP),    VERB (RETRY),  VERB (REOPEN),
                                          VERB (HOLD),   VERB (RELEASE), VERB (ANSWER), VERB (APPROVE),
                                          VERB (REJECT), VERB (STOP)};
enum {
    RETRY_ACT = 2, /* in VERBS */
    REOPEN_ACT = 3,
    VERB_COUNT = sizeof VERBS / sizeof VERBS[0],
    DISPATCH = VERB_COUNT,
    FIRST_RESULT,
    ACTS = FIRST_RESULT + 13,
    APPROVED = ACTS,
    CHANGES,
    ALL_ACTS
};

/* One of all that people, hosts and the scheduler's loop can do to a task. */
static void act (drive_t *self, size_t which)
{
    uint8_t before = (uint8_t)drive_get (self, "a").status;
    drive_forget_effects (self);
    if (which < VERB_COUNT) {
        if (drive_control (self, "a", VERBS[which]) != 0)
            drive_expect_status (self, "a", before, __LINE__);
    } else if (which == DISPATCH) {
        drive_dispatch (self);
    } else if (rota_core_lease_count (self->core) && which >= APPROVED) {
        drive_judge (self, "a", which == APPROVED);
    } else if (rota_core_lease_count (self->core)) {
        drive_report (self, "a", (Rota__ResultClass)(which - FIRST_RESULT));
    }
}

/* A life of a task that wants some of gate, review, approval and merge; most acts bring it on. */
static void live (drive_t *self, uint32_t seed)
{
    static const size_t USUAL[] = {DISPATCH,  FIRST_RESULT + RESULT (OK), APPROVED, CHANGES, RETRY_ACT,
                                   REOPEN_ACT};
    uint8_t wants = 0;
    wants |= seed & 1 ? ROTA_WANTS_GATE : 0;
    wants |= seed & 2 ? ROTA_WANTS_REVIEW : 0;
    wants |= seed & 4 ? ROTA_WANTS_MERGE : 0;
    bring_to_life (self, wants, seed & 8);
    for (size_t i = 0; i < 60; i++) {
        seed = seed * 1664525u + 1013904223u;
        act (self,
             seed >> 16 & 1 ? USUAL[(seed >> 20) % (sizeof USUAL / sizeof *USUAL)] : (seed >> 20) % ALL_ACTS);
        drive_wait (self, 10000);
    }
}

/* Every two acts on a task in every status, and whole lives: each move is in the table (core_drive.c looks),
 * and each row of the table is made by something. */
static void every_row_is_made_by_the_core_and_no_other_move (void **state)
{
    drive_t *self = *state;
    for (uint32_t seed = 0; seed < 640; seed++)
        live (self, seed);
    for (unsigned from = FIRST; from <= LAST; from++)
        for (size_t acts = 0; acts < (size_t)ACTS * ACTS * 2 && from != STATUS (IN_REVIEW); acts++) {
            bring_to (self, from, acts & 1);
            act (self, acts / 2 % ACTS);
            act (self, acts / 2 / ACTS);
        }
    for (size_t i = 0; i < ROWS; i++)
        if (!self->moved[TABLE[i].from][TABLE[i].to] && !is_in_reserve (TABLE[i].from, TABLE[i].to))
            fail_msg ("nothing made the move %s -> %s", rota_status_name (TABLE[i].from),
                      rota_status_name (TABLE[i].to));
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (the_table_says_what_the_design_says),
        cmocka_unit_test (no_row_is_there_twice),
        cmocka_unit_test (what_is_not_in_the_table_is_not_allowed),
        DRIVE_TEST (the_core_refuses_every_move_that_is_not_in_the_table),
        cmocka_unit_test (every_row_can_be_reached_and_from_everywhere_one_can_be_done),
        DRIVE_TEST (every_row_is_made_by_the_core_and_no_other_move),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
