/* Crashes of the host and of what works for it, and schedulers that may not command it. */
#include "tests/component/host_stage.h"

#include "agents/tree.h"
#include "bus/names.h"
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

/* ---- crashes */

static void a_result_is_reported_until_it_is_acknowledged_over_a_crash_too (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    host_stage.forgetful = true;
    host_stage_job_t *what = host_stage_job ("echo x; exit 9");
    uint64_t key = what->assignment.key;
    what->assignment.has_coordinator_epoch = true;
    what->assignment.coordinator_epoch = UINT64_C (0x123456789a);
    assert_int_equal (host_stage_run (what)->epoch, UINT64_C (0x123456789a));
    host_stage_kill_agent ();
    host_stage.reported_count = 0;
    host_stage.listed_count = 0;
    host_stage_start_agent ("1");
    assert_non_null (host_stage_listed (key));
    assert_true (host_stage_listed (key)->finished);
    const host_stage_reported_t *result = host_stage_result_of (key);
    assert_int_equal (result->class, RESULT (FAILED));
    assert_int_equal (result->exit_code, 9);
    assert_string_equal (result->last_output, "x\n");
    assert_int_equal (result->epoch, UINT64_C (0x123456789a));
    WAIT_UNTIL (host_stage_report_of (key, 1)->times > 1);
    host_stage.forgetful = false;
    WAIT_UNTIL (host_stage_spool_files ("") == 0);
}

static void a_host_that_is_killed_takes_its_work_along (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    host_stage_job_t *what = host_stage_job ("echo $$ > victim; exec sleep 1000");
    uint64_t key = what->assignment.key;
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_pid_in ("victim"));
    host_stage_kill_agent ();
    host_stage_start_agent ("1");
    /* It says so only when it is true. */
    assert_false (host_stage_is_alive (host_stage_pid_in ("victim")));
    assert_int_equal (host_stage_result_of (key)->class, RESULT (KILLED));
}

static void on_lost_continue_outlives_its_host_and_is_held_by_the_next (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    host_stage_job_t *what =
        host_stage_job ("echo $$ > keeper; while [ ! -e gate ]; do sleep 0.05; done; echo through; exit 4");
    uint64_t key = what->assignment.key;
    what->assignment.has_keep_on_lost = what->assignment.keep_on_lost = true;
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_pid_in ("keeper"));
    host_stage_kill_agent ();
    host_stage_start_agent ("1");
    assert_non_null (host_stage_listed (key));
    assert_false (host_stage_listed (key)->finished);
    assert_true (host_stage_is_alive (host_stage_pid_in ("keeper")));
    char gate[200];
    snprintf (gate, sizeof gate, "%s/gate", host_stage.broker.state_dir);
    close (open (gate, O_CREAT | O_WRONLY, 0600));
    assert_int_equal (host_stage_result_of (key)->exit_code, 4);
    assert_string_equal (host_stage_report_of (key, 1)->last_output, "through\n");
}

static void what_continues_can_be_stopped_by_the_next_host (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    host_stage_job_t *what = host_stage_job ("echo $$ > keeper2; exec sleep 1000");
    uint64_t key = what->assignment.key;
    what->assignment.has_keep_on_lost = what->assignment.keep_on_lost = true;
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_pid_in ("keeper2"));
    host_stage_kill_agent ();
    host_stage_start_agent ("1");
    host_stage_stop_attempt (key, 1000);
    assert_int_equal (host_stage_result_of (key)->class, RESULT (KILLED));
    assert_false (host_stage_is_alive (host_stage_pid_in ("keeper2")));
}

static void an_attempt_whose_shim_is_killed_is_lost_and_dead (void **state)
{
    (void)state;
    rota_spool_record_t record;
    host_stage_start_agent ("1");
    host_stage_job_t *what = host_stage_job (
        "setsid sh -c 'trap \"\" TERM; echo $$ > orphan; while :; do sleep 0.1; done' & wait");
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_pid_in ("orphan"));
    host_stage_read_shim (what->assignment.key, &record);
    kill (record.running.shim_pid, SIGKILL);
    assert_int_equal (host_stage_result_of (what->assignment.key)->class, RESULT (LOST));
    assert_false (host_stage_is_alive (host_stage_pid_in ("orphan")));
    WAIT_UNTIL (host_stage_spool_files ("") == 0);
}

static void when_host_spawner_and_shim_are_all_killed_the_next_host_finds_what_is_left (void **state)
{
    (void)state;
    rota_spool_record_t record;
    host_stage_start_agent ("1");
    host_stage_job_t *what = host_stage_job (
        "setsid sh -c 'trap \"\" TERM HUP; echo $$ > stray; while :; do sleep 0.1; done' & wait");
    uint64_t key = what->assignment.key;
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_pid_in ("stray"));
    host_stage_read_shim (key, &record);
    pid_t spawner = host_stage_parent_of (record.running.shim_pid);
    /* Held still first, so that none of them sees the others die. */
    kill (host_stage.agent_pid, SIGSTOP);
    kill (spawner, SIGSTOP);
    kill (record.running.shim_pid, SIGKILL);
    kill (spawner, SIGKILL);
    host_stage_kill_agent ();
    assert_true (host_stage_is_alive (host_stage_pid_in ("stray")));
    host_stage_start_agent ("1");
    assert_false (host_stage_is_alive (host_stage_pid_in ("stray")));
    assert_int_equal (host_stage_result_of (key)->class, RESULT (LOST));
}

static void without_its_spawner_it_ends_and_a_new_start_helps (void **state)
{
    (void)state;
    rota_spool_record_t record;
    int status;
    host_stage_start_agent ("1");
    host_stage_job_t *what = host_stage_job ("echo $$ > parted; exec sleep 1000");
    uint64_t key = what->assignment.key;
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_pid_in ("parted"));
    host_stage_read_shim (key, &record);
    kill (host_stage_parent_of (record.running.shim_pid), SIGKILL);
    while (waitpid (host_stage.agent_pid, &status, WNOHANG) == 0)
        host_stage_turn ();
    assert_int_equal (WEXITSTATUS (status), 1);
    host_stage_start_agent ("1");
    assert_int_equal (host_stage_result_of (key)->class, RESULT (KILLED));
    assert_false (host_stage_is_alive (host_stage_pid_in ("parted")));
}

static void a_second_host_of_the_name_waits_for_the_first (void **state)
{
    (void)state;
    pid_t second;
    host_stage_start_agent ("1");
    uint8_t first_instance[16];
    memcpy (first_instance, host_stage.agent, 16);
    host_stage_start_agent_named ("tester", "1", NULL, &second);
    unsigned before = host_stage.heartbeats, registers = host_stage.registers;
    WAIT_UNTIL (host_stage.heartbeats >= before + 5);
    assert_int_equal (host_stage.registers, registers);
    assert_int_equal (host_stage_stop_agent (), 0);
    WAIT_UNTIL (host_stage.registers > registers);
    assert_memory_not_equal (host_stage.agent, first_instance, 16);
    host_stage.agent_pid = second;
}

/* ---- which scheduler counts */

static void a_scheduler_of_an_older_epoch_has_no_say_not_after_a_restart_either (void **state)
{
    (void)state;
    host_stage_start_agent ("1");
    uint64_t newest = host_stage.epoch;
    for (int round = 0; round < 2; round++) {
        host_stage.epoch = newest - 1;
        host_stage_job_t *what = host_stage_job ("true");
        uint64_t key = what->assignment.key;
        host_stage_assign (what);
        host_stage.epoch = newest;
        assert_int_equal (host_stage_run (host_stage_job ("true"))->class, RESULT (OK));
        assert_int_equal (host_stage_times_accepted (key), 0);
        if (round == 0) {
            host_stage_kill_agent ();
            /* The stale one answers first. */
            host_stage.epoch = newest - 1;
            unsigned before = host_stage.registers;
            host_stage_start_agent_named ("tester", "1", NULL, &host_stage.agent_pid);
            WAIT_UNTIL (host_stage.registers > before);
            unsigned beats = host_stage.heartbeats;
            before = host_stage.registers;
            WAIT_UNTIL (host_stage.registers > before); /* it asks again: that was no answer */
            assert_int_equal (host_stage.heartbeats, beats);
            host_stage.epoch = newest;
            WAIT_UNTIL (host_stage.heartbeats > beats);
        }
    }
}

static void with_another_store_the_old_work_ends_and_its_report_is_put_aside (void **state)
{
    (void)state;
    host_stage_start_agent ("2");
    host_stage.forgetful = true;
    host_stage_job_t *what = host_stage_job ("exit 0");
    uint64_t ended = what->assignment.key;
    host_stage_run (what);
    what = host_stage_job ("echo $$ > before; exec sleep 1000");
    uint64_t running = what->assignment.key;
    host_stage_assign (what);
    WAIT_UNTIL (host_stage_pid_in ("before"));
    host_stage.reported_count = 0;
    host_stage.forgetful = false;
    host_stage.epoch = 1;
    rota_instance_new (host_stage.store);
    unsigned before = host_stage.registers;
    what = host_stage_job ("true");
    host_stage_assign (what); /* the first word of the other store */
    WAIT_UNTIL (host_stage.registers > before);
    assert_false (host_stage_is_alive (host_stage_pid_in ("before")));
    assert_int_equal (host_stage.listed_count, 0);
    assert_int_equal (host_stage_run (host_stage_job ("true"))->class, RESULT (OK));
    assert_null (host_stage_report_of (ended, 1));
    assert_null (host_stage_report_of (running, 1));
    assert_int_equal (host_stage_spool_files ("/quarantine"), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, host_stage_open, host_stage_close)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_result_is_reported_until_it_is_acknowledged_over_a_crash_too),
        TEST (a_host_that_is_killed_takes_its_work_along),
        TEST (on_lost_continue_outlives_its_host_and_is_held_by_the_next),
        TEST (what_continues_can_be_stopped_by_the_next_host),
        TEST (an_attempt_whose_shim_is_killed_is_lost_and_dead),
        TEST (when_host_spawner_and_shim_are_all_killed_the_next_host_finds_what_is_left),
        TEST (without_its_spawner_it_ends_and_a_new_start_helps),
        TEST (a_second_host_of_the_name_waits_for_the_first),
        TEST (a_scheduler_of_an_older_epoch_has_no_say_not_after_a_restart_either),
        TEST (with_another_store_the_old_work_ends_and_its_report_is_put_aside),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
