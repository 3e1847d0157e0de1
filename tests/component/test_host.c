/* The agent host takes work, runs it, reports it, and leaves in order. */
#include "tests/component/host_stage.h"

#include "agents/host.h"
#include "bus/client.h"
#include "proto/words.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

/* ---- taking work */

static void it_says_who_it_is (void **state)
{
    (void)state;
    host_stage_start_agent ("3");
    assert_string_equal (host_stage.name, "tester");
    assert_string_equal (host_stage.kind, "exec");
    assert_string_equal (host_stage.capabilities, "run ");
    assert_int_equal (host_stage.slots, 3);
    assert_int_equal (host_stage.listed_count, 0);
    assert_false (host_stage.draining);
}

static void an_assignment_is_accepted_run_reported_and_forgotten (void **state)
{
    (void)state;
    host_stage_start_agent ("2");
    host_stage_job_t *what = host_stage_job ("echo \"$ROTA_TASK_TITLE\" > title; echo said");
    const host_stage_reported_t *result = host_stage_run (what);
    assert_int_equal (host_stage_times_accepted (what->assignment.key), 1);
    assert_int_equal (result->class, RESULT (OK));
    assert_int_equal (result->exit_code, 0);
    assert_true (host_stage_file_has ("title", "A title\n"));
    char log[64];
    snprintf (log, sizeof log, "logs/task%%2F%llu/1", (unsigned long long)what->assignment.key);
    assert_true (host_stage_file_has (log, "said\n"));
    WAIT_UNTIL (host_stage_spool_files ("") == 0);
    WAIT_UNTIL (!host_stage_listed (what->assignment.key));
}

static void the_same_assignment_again_is_accepted_again_and_not_run_again (void **state)
{
    (void)state;
    host_stage_start_agent ("2");
    host_stage.forgetful = true; /* so that it stays held when it has ended */
    host_stage_job_t *what = host_stage_job ("echo once >> count");
    host_stage_assign (what);
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_times_accepted (what->assignment.key) == 2);
    host_stage_result_of (what->assignment.key);
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_times_accepted (what->assignment.key) == 3);
    assert_true (host_stage_file_has ("count", "once\n"));
    assert_false (host_stage_file_has ("count", "once\nonce\n"));
}

static void a_field_of_the_task_is_never_shell (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    host_stage_job_t *what = host_stage_job (
        "printf '%s|%s|%s' \"$ROTA_TASK_TITLE\" \"$ROTA_TASK_ID\" \"$ROTA_ATTEMPT\" > fields");
    what->spec.title = rota_bytes ("$(touch pwned); `touch pwned` '\"\n;");
    host_stage_run (what);
    char expected[128];
    snprintf (expected, sizeof expected, "$(touch pwned); `touch pwned` '\"\n;|%s|1", what->id);
    assert_true (host_stage_file_has ("fields", expected));
    assert_false (host_stage_file_has ("pwned", ""));
}

static void what_ends_badly_is_told_by_its_class (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    const host_stage_reported_t *result = host_stage_run (host_stage_job ("echo why; exit 3"));
    assert_int_equal (result->class, RESULT (FAILED));
    assert_int_equal (result->exit_code, 3);
    assert_string_equal (result->last_output, "why\n");
    result = host_stage_run (host_stage_job ("no-such-command-here"));
    assert_int_equal (result->class, RESULT (FAILED));
    assert_non_null (strstr (result->message, "not found"));
    result = host_stage_run (host_stage_job (NULL));
    assert_int_equal (result->class, RESULT (INVALID));
    host_stage_job_t *what = host_stage_job ("true");
    what->spec.directory = rota_bytes ("/nowhere/at-all");
    result = host_stage_run (what);
    assert_int_equal (result->class, RESULT (ENVIRONMENT));
    assert_non_null (strstr (result->message, "/nowhere/at-all"));
    what = host_stage_job ("exec sleep 1000");
    what->spec.has_timeout_ms = true;
    what->spec.timeout_ms = 300;
    assert_int_equal (host_stage_run (what)->class, RESULT (TIMEOUT));
    what = host_stage_job ("exec sleep 1000");
    what->spec.has_silence_ms = true;
    what->spec.silence_ms = 300;
    assert_int_equal (host_stage_run (what)->class, RESULT (TIMEOUT));
}

static void a_default_command_serves_tasks_without_one (void **state)
{
    (void)state;
    unsigned before = host_stage.heartbeats;
    host_stage_start_agent_named ("tester", "1", "echo \"$ROTA_TASK_PROMPT\" > prompt",
                                  &host_stage.agent_pid);
    WAIT_UNTIL (host_stage.heartbeats > before);
    assert_string_equal (host_stage.capabilities, "run prompt ");
    host_stage_job_t *what = host_stage_job (NULL);
    what->spec.has_prompt = true;
    what->spec.prompt = rota_bytes ("do it");
    assert_int_equal (host_stage_run (what)->class, RESULT (OK));
    assert_true (host_stage_file_has ("prompt", "do it\n"));
}

static void no_more_than_its_slots_are_taken (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    host_stage_job_t *first = host_stage_job ("echo $$ > first; exec sleep 1000");
    uint64_t first_key = first->assignment.key;
    host_stage_assign (first);
    WAIT_UNTIL (host_stage_pid_in ("first"));
    host_stage_job_t *second = host_stage_job ("true");
    host_stage_assign (second);
    unsigned before = host_stage.heartbeats;
    WAIT_UNTIL (host_stage.heartbeats >= before + 3);
    assert_int_equal (host_stage_times_accepted (second->assignment.key), 0);
    host_stage_stop_attempt (first_key, 1000);
    assert_int_equal (host_stage_result_of (first_key)->class, RESULT (KILLED));
    assert_int_equal (host_stage_run (second)->class, RESULT (OK)); /* asked again, as a scheduler does */
}

static void a_newer_attempt_waits_for_the_end_of_the_older_one (void **state)
{
    (void)state;
    host_stage_start_agent ("4");
    host_stage_job_t *what = host_stage_job ("echo $$ > runs; exec sleep 1000");
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_pid_in ("runs"));
    what->assignment.attempt = 2;
    host_stage_assign (what);
    assert_int_equal (host_stage_result_of (what->assignment.key)->class, RESULT (KILLED));
    assert_null (host_stage_report_of (what->assignment.key, 2));
    assert_int_equal (host_stage_times_accepted (what->assignment.key), 1);
}

static void nonsense_from_the_scheduler_is_survived (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    host_stage_job_t *what = host_stage_job ("true");
    what->assignment.spec = NULL;
    host_stage_assign (what);
    what = host_stage_job ("true");
    what->assignment.has_key = false;
    what->assignment.key = 0;
    host_stage_assign (what);
    what = host_stage_job ("true");
    what->spec.id = rota_bytes_n ("a\0b", 3);
    host_stage_assign (what);
    rota_envelope_t envelope = {
        .type = ROTA_MESSAGE_ASSIGN, .has_to = true, .has_store = true, .scheduler_epoch = host_stage.epoch};
    memcpy (envelope.to, host_stage.agent, 16);
    memcpy (envelope.store, host_stage.store, 16);
    rota_peer_send_packed (host_stage.peer, &envelope, (const uint8_t *)"\xff\xff\xff", 3);
    host_stage_stop_attempt (12345, 0);
    assert_int_equal (host_stage_run (host_stage_job ("true"))->class, RESULT (OK));
}

/* ---- leases and stops */

static void renewals_keep_it_alive_and_without_them_it_ends (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    host_stage_job_t *what = host_stage_job ("echo $$ > leased; exec sleep 1000");
    what->assignment.lease_ms = 1500;
    host_stage.renewal_ms = 1500;
    host_stage_assign (what);
    int64_t begun_ms = rota_clock_monotonic_ms ();
    WAIT_UNTIL (rota_clock_monotonic_ms () - begun_ms > 3000);
    assert_null (host_stage_report_of (what->assignment.key, 1));
    host_stage.deaf = true;
    const host_stage_reported_t *result = host_stage_result_of (what->assignment.key);
    assert_int_equal (result->class, RESULT (KILLED));
    assert_false (host_stage_is_alive (host_stage_pid_in ("leased")));
    host_stage.renewal_ms = HOST_STAGE_LEASE_MS;
}

static void a_stop_ends_the_whole_tree (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    host_stage_job_t *what = host_stage_job ("setsid sh -c 'echo $$ > away; exec sleep 1000' & wait");
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_pid_in ("away"));
    host_stage_stop_attempt (what->assignment.key, 1000);
    assert_int_equal (host_stage_result_of (what->assignment.key)->class, RESULT (KILLED));
    assert_false (host_stage_is_alive (host_stage_pid_in ("away")));
}

/* ---- output */

static int read_output (rota_client_t *client, const char *id, uint64_t offset, char *ret_text,
                        bool *ret_ended)
{
    Rota__OutputQuery query = ROTA__OUTPUT_QUERY__INIT;
    ProtobufCMessage *reply = NULL;
    rota_error_t error;
    query.has_task = query.has_attempt = query.has_offset = true;
    query.task = rota_bytes (id);
    query.attempt = 1;
    query.offset = offset;
    int status = rota_client_call_to (client, host_stage.agent, ROTA_MESSAGE_OUTPUT_QUERY, &query.base,
                                      HOST_STAGE_WATCHDOG_MS, ROTA_MESSAGE_OUTPUT_REPLY, &reply, &error);
    if (status < 0)
        return status;
    const Rota__OutputReply *it = (const Rota__OutputReply *)reply;
    host_stage_copy (ret_text, 100, it->data);
    *ret_ended = it->ended;
    return (int)it->data.len;
}

static void output_can_be_read_while_it_is_written_and_after (void **state)
{
    (void)state;
    char text[100], gate[200];
    bool ended = true;
    rota_error_t error;
    host_stage_start_agent ("1");
    rota_client_t *client = rota_client_new (host_stage.broker.endpoints.client, "reader", &error);
    assert_non_null (client);
    host_stage_job_t *what =
        host_stage_job ("echo one; echo $$ > speaker; while [ ! -e gate2 ]; do sleep 0.05; done; echo two");
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_pid_in ("speaker"));
    int size;
    while ((size = read_output (client, what->id, 0, text, &ended)) == 0)
        host_stage_turn ();
    assert_int_equal (size, 4);
    assert_string_equal (text, "one\n");
    assert_false (ended);
    assert_int_equal (read_output (client, what->id, 4, text, &ended), 0);
    assert_false (ended);
    snprintf (gate, sizeof gate, "%s/gate2", host_stage.broker.state_dir);
    close (open (gate, O_CREAT | O_WRONLY, 0600));
    host_stage_result_of (what->assignment.key);
    assert_int_equal (read_output (client, what->id, 4, text, &ended), 4);
    assert_string_equal (text, "two\n");
    assert_true (ended);
    assert_int_equal (read_output (client, "never/ran", 0, text, &ended), -EPROTO);
    assert_int_equal (rota_client_last_code (client), ERROR_CODE (NOT_FOUND));
    assert_int_equal (read_output (client, "", 0, text, &ended), -EPROTO);
    rota_client_destroy (&client);
}

/* ---- leaving */

static void told_to_leave_it_ends_its_work_hands_it_in_and_goes (void **state)
{
    (void)state;
    host_stage_start_agent ("2");
    host_stage_job_t *what =
        host_stage_job ("trap 'echo bye; exit 5' TERM; echo $$ > polite; while :; do sleep 0.02; done");
    uint64_t key = what->assignment.key;
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_pid_in ("polite"));
    assert_int_equal (host_stage_stop_agent (), 0);
    assert_int_equal (host_stage_report_of (key, 1)->class, RESULT (KILLED));
    assert_int_equal (host_stage_report_of (key, 1)->exit_code, 5);
    assert_true (host_stage.draining);
    assert_int_equal (host_stage_spool_files (""), 0);
}

static void told_twice_it_does_not_wait_for_the_stubborn (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    host_stage_job_t *what =
        host_stage_job ("trap '' TERM; echo $$ > stubborn; while :; do sleep 0.02; done");
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_pid_in ("stubborn"));
    kill (host_stage.agent_pid, SIGTERM);
    WAIT_UNTIL (host_stage.draining);
    assert_int_equal (host_stage_stop_agent (), 0);
    assert_false (host_stage_is_alive (host_stage_pid_in ("stubborn")));
    assert_int_equal (host_stage_report_of (what->assignment.key, 1)->class, RESULT (KILLED));
}

static void without_a_scheduler_it_leaves_and_the_spool_keeps_the_result (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    host_stage.forgetful = true;
    host_stage_run (host_stage_job ("true"));
    assert_int_equal (host_stage_stop_agent (), 0);
    assert_int_equal (host_stage_spool_files (""), 1);
}

static void wrong_configurations_are_refused_in_words (void **state)
{
    (void)state;
    static const rota_agent_config_t WRONG[] = {
        {.kind = "nonsense", .slots = 1},
        {.kind = "exec", .slots = 0},
        {.kind = "exec", .slots = 1, .name = "two\nlines"},
    };
    rota_settings_t *settings = NULL;
    rota_error_t error;
    assert_int_equal (rota_settings_parse ("", "", 0, NULL, NULL, &settings, &error), 0);
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        rota_agent_config_t config = WRONG[i];
        int status = 0;
        config.state_dir = host_stage.broker.state_dir;
        config.settings = settings;
        error.text[0] = 0;
        assert_null (rota_agent_new (&config, &status, &error));
        assert_int_equal (status, -EINVAL);
        assert_true (error.text[0]);
    }
    rota_settings_destroy (&settings);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, host_stage_open, host_stage_close)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (it_says_who_it_is),
        TEST (an_assignment_is_accepted_run_reported_and_forgotten),
        TEST (the_same_assignment_again_is_accepted_again_and_not_run_again),
        TEST (a_field_of_the_task_is_never_shell),
        TEST (what_ends_badly_is_told_by_its_class),
        TEST (a_default_command_serves_tasks_without_one),
        TEST (no_more_than_its_slots_are_taken),
        TEST (a_newer_attempt_waits_for_the_end_of_the_older_one),
        TEST (nonsense_from_the_scheduler_is_survived),
        TEST (renewals_keep_it_alive_and_without_them_it_ends),
        TEST (a_stop_ends_the_whole_tree),
        TEST (output_can_be_read_while_it_is_written_and_after),
        TEST (told_to_leave_it_ends_its_work_hands_it_in_and_goes),
        TEST (told_twice_it_does_not_wait_for_the_stubborn),
        TEST (without_a_scheduler_it_leaves_and_the_spool_keeps_the_result),
        TEST (wrong_configurations_are_refused_in_words),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
