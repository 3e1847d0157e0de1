/* What a task is told of what the store knows: which of it, in which order, and what of it survives when a
 * part can't be read. */
#include "proto/words.h"
#include "scheduler/context.h"
#include "scheduler/define.h"
#include "scheduler/health.h"
#include "scheduler/store.h"

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS INT64_C (1800000000000)
#define DAY_MS INT64_C (86400000)
#define NOBODY (-1) /* says how sure it is */

/* In the order in which they are added. */
enum { EPIC, MILESTONE, TASK, BESIDE, BEFORE, OTHER };

static struct {
    char directory[64];
    rota_store_t *store;
    rota_core_t *core;
    rota_settings_t *settings;
    rota_arena_t *arena;
    uint32_t class_index;
    Rota__Context context; /* what was told last */
} on;

static void begin (void)
{
    rota_error_t error = {""};
    if (rota_store_begin (on.store, &error) < 0)
        fail_msg ("%s", error.text);
}

static void commit (void)
{
    rota_error_t error = {""};
    if (rota_store_commit (on.store, &error) < 0)
        fail_msg ("%s", error.text);
}

static void add_node (rota_node_t expected, const char *id, Rota__NodeKind kind, rota_node_t parent,
                      Rota__TaskStatus status, const char *reason)
{
    rota_node_t node;
    const rota_definition_t definition = {.title = "", .spec = (const uint8_t *)""};
    const rota_core_node_t given = {.id = id,
                                    .id_length = strlen (id),
                                    .kind = kind,
                                    .parent = parent,
                                    .source = 1,
                                    .status = kind == NODE (TASK) ? status : 0,
                                    .class_index = on.class_index,
                                    .attempts_allowed = 3,
                                    .agent = ROTA_NONE,
                                    .author = ROTA_NONE,
                                    .reason = reason,
                                    .reason_length = reason ? strlen (reason) : 0};
    assert_int_equal (rota_core_add (on.core, &given, &node), 0);
    assert_int_equal (node, expected);
    rota_store_add_task (on.store, on.core, node, 0, &definition, 0, NOW_MS);
}

/* The task is in a milestone of an epic, beside another one, and builds on one that stands elsewhere. */
static void build (Rota__TaskStatus status, const char *reason)
{
    const char *prompt = "prompt";
    bool is_new;
    begin ();
    assert_int_equal (rota_core_class (on.core, 1, "", 0, &prompt, 1, &on.class_index, &is_new), 0);
    rota_store_set_class (on.store, on.core, on.class_index);
    rota_store_set_source (on.store, 1, "plan", 4, NULL, 0);
    add_node (EPIC, "epic", NODE (EPIC), ROTA_NONE, 0, NULL);
    add_node (MILESTONE, "epic/milestone", NODE (MILESTONE), EPIC, 0, NULL);
    add_node (TASK, "task", NODE (TASK), MILESTONE, status, reason);
    add_node (BESIDE, "beside", NODE (TASK), MILESTONE, STATUS (PENDING), NULL);
    add_node (BEFORE, "before", NODE (TASK), ROTA_NONE, STATUS (DONE), NULL);
    add_node (OTHER, "other", NODE (TASK), ROTA_NONE, STATUS (PENDING), NULL);
    assert_int_equal (rota_core_link (on.core, BEFORE, TASK), 0);
    rota_store_add_dependency (on.store, TASK, BEFORE, DEPENDENCY (BLOCKS));
    rota_core_open (on.core, 0, OTHER + 1, true, NOW_MS);
    commit ();
}

static int set_up (void **state)
{
    char path[96];
    rota_core_policy_t policy;
    rota_error_t error;
    uint64_t epoch;
    (void)state;
    memset (&on, 0, sizeof on);
    strcpy (on.directory, "/tmp/rota-context-XXXXXX");
    rota_core_policy_default (&policy);
    on.core = rota_core_new (&policy, NOW_MS);
    on.arena = rota_arena_new (8 << 20);
    if (!mkdtemp (on.directory) || !on.core || !on.arena ||
        rota_settings_parse ("c.yaml", "", 0, NULL, NULL, &on.settings, &error) < 0)
        return -1;
    snprintf (path, sizeof path, "%s/rota.db", on.directory);
    return rota_store_open (path, &on.store, &error) < 0 ||
                   rota_store_take_role (on.store, &epoch, &error) < 0
               ? -1
               : 0;
}

static int tear_down (void **state)
{
    char command[128];
    (void)state;
    rota_arena_destroy (&on.arena);
    rota_settings_destroy (&on.settings);
    rota_store_close (&on.store);
    rota_core_destroy (&on.core);
    snprintf (command, sizeof command, "rm -rf '%s'", on.directory);
    return system (command);
}
#define CONTEXT_TEST(name) cmocka_unit_test_setup_teardown (name, set_up, tear_down)

static void note (rota_node_t about, Rota__NoteType type, int64_t days, double confidence, bool by_hand,
                  const char *text)
{
    bool is_new;
    const rota_entry_t entry = {.type = type,
                                .task = about,
                                .attempt = 1,
                                .author = "claude@here",
                                .by_hand = by_hand,
                                .time_ms = NOW_MS - days * DAY_MS,
                                .confidence = confidence,
                                .topic = "",
                                .text = text,
                                .text_length = strlen (text)};
    begin ();
    assert_true (rota_store_add_entry (on.store, &entry, NULL, 0, &is_new) > 0 && is_new);
    commit ();
}

static void gather (const char *words)
{
    const rota_gathering_t with = {.store = on.store,
                                   .core = on.core,
                                   .settings = on.settings,
                                   .arena = on.arena,
                                   .agent = ROTA_NONE,
                                   .wall_ms = NOW_MS,
                                   .now_ms = NOW_MS};
    Rota__TaskSpec spec = ROTA__TASK_SPEC__INIT;
    spec.has_prompt = true;
    spec.prompt = rota_bytes (words);
    rota_arena_reset (on.arena);
    rota_context_gather (&with, TASK, PHASE (WORK), &spec, &on.context);
}

/* The texts of that kind: each begins with the word that is wanted there, and there are no others. */
static void expect (const char *kind, const char *wanted)
{
    char found[1024] = "";
    for (size_t i = 0; i < on.context.n_parts; i++) {
        const Rota__ContextPart *it = on.context.parts[i];
        size_t used = strlen (found);
        if (it->kind.len == strlen (kind) && memcmp (it->kind.data, kind, it->kind.len) == 0)
            snprintf (found + used, sizeof found - used, "%s%.*s", used ? " " : "",
                      (int)strcspn ((const char *)it->text.data, " \n:"), (const char *)it->text.data);
    }
    assert_string_equal (found, wanted);
}

static const char *text_of (const char *kind)
{
    static char text[2600];
    *text = '\0';
    for (size_t i = 0; i < on.context.n_parts && !*text; i++)
        if (on.context.parts[i]->kind.len == strlen (kind) &&
            memcmp (on.context.parts[i]->kind.data, kind, strlen (kind)) == 0)
            snprintf (text, sizeof text, "%.*s", (int)on.context.parts[i]->text.len,
                      (const char *)on.context.parts[i]->text.data);
    return text;
}

/* ---- entries */

static void the_nearer_is_told_first (void **state)
{
    (void)state;
    build (STATUS (PENDING), NULL);
    /* Of the same score the later one would come first. */
    note (TASK, NOTE (DECISION), 0, NOBODY, false, "own");
    note (BEFORE, NOTE (DECISION), 0, NOBODY, false, "before");
    note (MILESTONE, NOTE (DECISION), 1, NOBODY, false, "milestone");
    note (EPIC, NOTE (DECISION), 0, NOBODY, false, "epic");
    note (BESIDE, NOTE (DECISION), 0, NOBODY, false, "beside");
    note (OTHER, NOTE (DECISION), 0, NOBODY, false, "elsewhere");
    gather ("");
    expect ("decision", "own before milestone epic beside elsewhere");
    expect ("dependency", "before");
    assert_non_null (strstr (text_of ("decision"), "[claude@here, task, 20"));
    note (TASK, NOTE (DECISION), 0, NOBODY, false, "another");
    gather ("");
    expect ("decision", "another own before milestone epic beside"); /* six of them */
}

static void the_newer_and_the_surer_is_told_first (void **state)
{
    (void)state;
    build (STATUS (PENDING), NULL);
    note (OTHER, NOTE (LEARNING), 6, NOBODY, false, "older");
    note (OTHER, NOTE (LEARNING), 0, NOBODY, false, "new");
    note (OTHER, NOTE (LEARNING), 3, NOBODY, false, "newer");
    gather ("");
    expect ("learning", "new newer older");
    note (OTHER, NOTE (CONSTRAINT), 0, 0.1, false, "unsure");
    note (OTHER, NOTE (CONSTRAINT), 0, 0.9, false, "sure");
    note (OTHER, NOTE (CONSTRAINT), 0, NOBODY, false, "unsaid");
    note (OTHER, NOTE (CONSTRAINT), 0, 1, true, "person's");
    note (OTHER, NOTE (CONSTRAINT), 0, NOBODY, false, "matching words of the ledger rounding");
    gather ("matching the ledger rounding");
    expect ("constraint", "person's matching sure unsaid unsure");
}

static void what_is_old_and_elsewhere_is_not_told (void **state)
{
    (void)state;
    build (STATUS (PENDING), NULL);
    note (OTHER, NOTE (DECISION), 8, NOBODY, false, "old");
    note (OTHER, NOTE (CONSTRAINT), 8, NOBODY, false, "constraint");
    note (OTHER, NOTE (DECISION), 8, NOBODY, true, "person's");
    note (BEFORE, NOTE (DECISION), 8, NOBODY, false, "related");
    gather ("");
    expect ("decision", "related person's");
    expect ("constraint", "constraint");
}

/* ---- what the last attempt met */

static void end_attempt (uint32_t number, Rota__Phase phase, Rota__ResultClass class, const char *gate,
                         const char *review)
{
    Rota__GateResult of_gate = ROTA__GATE_RESULT__INIT, *gates[] = {&of_gate};
    Rota__ReviewComment comment = ROTA__REVIEW_COMMENT__INIT, *comments[] = {&comment};
    Rota__Verdict verdict = ROTA__VERDICT__INIT;
    Rota__Result result = ROTA__RESULT__INIT;
    result.has_result_class = of_gate.has_name = of_gate.has_state = of_gate.has_output = true;
    result.result_class = class;
    of_gate.name = rota_bytes (gate ? gate : "");
    of_gate.output = rota_bytes ("its output");
    of_gate.state = ROTA__GATE_STATE__GATE_STATE_FAILED;
    if (gate) {
        result.gates = gates;
        result.n_gates = 1;
    }
    verdict.has_approved = verdict.has_summary = comment.has_text = comment.has_severity = comment.has_file =
        true;
    verdict.summary = rota_bytes (review ? review : "");
    comment.severity = rota_bytes ("major");
    comment.file = rota_bytes ("a.c");
    comment.text = verdict.summary;
    verdict.comments = comments;
    verdict.n_comments = 1;
    result.verdict = review ? &verdict : NULL;
    const rota_core_ended_t ended = {.node = TASK,
                                     .agent = ROTA_NONE,
                                     .attempt = number,
                                     .phase = phase,
                                     .result_class = (uint8_t) class,
                                     .result = &result};
    begin ();
    rota_store_add_attempt (on.store, &ended, NOW_MS);
    commit ();
}

static void two_rounds (void)
{
    end_attempt (1, PHASE (WORK), RESULT (OK), NULL, NULL);
    end_attempt (2, PHASE (GATE), RESULT (FAILED), "old-gate", NULL);
    end_attempt (3, PHASE (REVIEW), RESULT (OK), NULL, "old-review");
    end_attempt (4, PHASE (WORK), RESULT (OK), NULL, NULL);
    end_attempt (5, PHASE (GATE), RESULT (FAILED), "new-gate", NULL);
    end_attempt (6, PHASE (REVIEW), RESULT (OK), NULL, "new-review");
}

static void only_the_last_round_is_told (void **state)
{
    (void)state;
    build (STATUS (NEEDS_IMPROVEMENT), "new-review");
    two_rounds ();
    gather ("");
    expect ("gate", "new-gate");
    assert_string_equal (text_of ("gate"), "new-gate fails:\nits output");
    expect ("review", "new-review major");
    expect ("failure", ""); /* the reason is what the review said */
}

static void a_persons_reason_is_told_beside_it (void **state)
{
    (void)state;
    build (STATUS (NEEDS_IMPROVEMENT), "not on a Friday");
    two_rounds ();
    note (TASK, NOTE (ANSWER), 0, NOBODY, true, "Green.");
    gather ("");
    expect ("answer", "You");
    expect ("gate", "new-gate");
    assert_string_equal (text_of ("failure"), "it was sent back: not on a Friday");
}

/* ---- parts fail alone */

static void spoil (const char *sql)
{
    char path[96];
    sqlite3 *db;
    rota_definition_t definition;
    /* What was read last is held until the next read: nothing else could write meanwhile. */
    assert_int_equal (rota_store_definition (on.store, OTHER + 1, &definition), -ENOENT);
    snprintf (path, sizeof path, "%s/rota.db", on.directory);
    assert_int_equal (sqlite3_open (path, &db), SQLITE_OK);
    assert_int_equal (sqlite3_exec (db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close (db);
}

static void expect_the_rest (void)
{
    begin ();
    rota_store_set_number (on.store, "written", 7);
    gather ("the ledger rounding");
    commit (); /* the batch in which it is gathered */
    expect ("dependency", "before");
    expect ("review", "new-review major");
    expect ("project", "1");
    assert_int_equal (rota_store_number (on.store, "written", 0), 7);
}

static void a_part_that_fails_takes_no_other_with_it (void **state)
{
    (void)state;
    build (STATUS (NEEDS_IMPROVEMENT), "new-review");
    two_rounds ();
    note (TASK, NOTE (DECISION), 0, NOBODY, false, "ledger");
    spoil ("DROP TABLE context_words");
    expect_the_rest ();
    expect ("decision", "ledger");
    spoil ("ALTER TABLE context RENAME TO elsewhere");
    expect_the_rest ();
    expect ("decision", "");
}

static void how_the_project_goes_is_told (void **state)
{
    (void)state;
    rota_core_health_state_t health = {.mode = ROTA_MODE_STABILIZE,
                                       .since_ms = NOW_MS,
                                       .reason = "30 % of the work fails",
                                       .all = {.at_ms = NOW_MS,
                                               .observed_ms = 3600000,
                                               .done = 4 * ROTA_RATE_UNIT,
                                               .ended = 4 * ROTA_RATE_UNIT}};
    rota_core_health_load (on.core, &health);
    build (STATUS (PENDING), NULL);
    rota_core_health_quality (on.core, BEFORE, 750, true);
    gather ("the ledger rounding");
    for (size_t i = 0; i < on.context.n_parts; i++) {
        const Rota__ContextPart *it = on.context.parts[i];
        if (it->kind.len == 7 && memcmp (it->kind.data, "project", 7) == 0) {
            char text[512];
            snprintf (text, sizeof text, "%.*s", (int)it->text.len, (const char *)it->text.data);
            assert_string_equal (
                text, "1 of 4 tasks are done, 0 under way, 0 failed; of late 4.0 tasks an hour were "
                      "done; the mean quality of work is 0.75; too much of it fails now, so care "
                      "counts more than speed: 30 % of the work fails");
            return;
        }
    }
    fail_msg ("nothing is told of the project");
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        CONTEXT_TEST (the_nearer_is_told_first),
        CONTEXT_TEST (the_newer_and_the_surer_is_told_first),
        CONTEXT_TEST (what_is_old_and_elsewhere_is_not_told),
        CONTEXT_TEST (only_the_last_round_is_told),
        CONTEXT_TEST (a_persons_reason_is_told_beside_it),
        CONTEXT_TEST (a_part_that_fails_takes_no_other_with_it),
        CONTEXT_TEST (how_the_project_goes_is_told),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
