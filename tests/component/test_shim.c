/* What an attempt may do, and what is left of it: real processes, through spawner and shim. */
#include "agents/cgroup.h"
#include "agents/output.h"
#include "agents/shim.h"
#include "agents/spawner.h"
#include "agents/spool.h"
#include "agents/sweep.h"
#include "agents/tree.h"
#include "bus/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define WATCHDOG_MS 120000 /* a hang, not a slow machine */
#define NAP_US 2000

static rota_spawner_t *spawner;
static char base[64], spool[96], mark[96];
static uint64_t launches;

/* ---- tools */

static void remove_tree (const char *path)
{
    char command[256];
    snprintf (command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal (system (command), 0);
}

/* Processes that carry our mark, shims and spawner not among them. */
static int marked_alive (void)
{
    int count = 0;
    DIR *directory = opendir ("/proc");
    for (struct dirent *entry; (entry = readdir (directory));) {
        char path[300], text[65536];
        snprintf (path, sizeof path, "/proc/%s/environ", entry->d_name);
        int fd = open (path, O_RDONLY);
        if (fd < 0)
            continue;
        ssize_t size = read (fd, text, sizeof text);
        close (fd);
        if (size > 0 && memmem (text, (size_t)size, mark, strlen (mark) + 1))
            count++;
    }
    closedir (directory);
    return count;
}

static char *const *environment (void)
{
    static char *list[] = {(char *)"PATH=/usr/local/bin:/usr/bin:/bin", mark, (char *)"GREETING=hello world",
                           NULL};
    return list;
}

static char *log_path (void)
{
    static char path[128];
    snprintf (path, sizeof path, "%s/log", base);
    return path;
}

typedef struct {
    char *argv[4];
    rota_attempt_t attempt;
} order_t;

/* `sh -c SCRIPT`, with nothing that would end it. */
static order_t *order (const char *script)
{
    static order_t made;
    static uint64_t key;
    unlink (log_path ());
    made = (order_t){.argv = {(char *)"/bin/sh", (char *)"-c", (char *)script, NULL},
                     .attempt = {.key = ++key,
                                 .number = 1,
                                 .task_id = "task one",
                                 .environment = environment (),
                                 .directory = base,
                                 .log_path = log_path (),
                                 .spool_directory = spool,
                                 .output_limit_bytes = 1 << 20,
                                 .grace_ms = 60000,
                                 .lease_ms = 600000,
                                 .stop_signal = SIGTERM}};
    made.attempt.argv = made.argv;
    return &made;
}

static int launch (const order_t *what)
{
    int control_fd = -1;
    assert_int_equal (rota_spawner_launch (spawner, &what->attempt, ++launches, &control_fd), 0);
    return control_fd;
}

static rota_spawner_end_t next_end (void)
{
    rota_spawner_end_t end = {0};
    int status;
    while ((status = rota_spawner_next (spawner, &end)) == 0) {
        struct pollfd item = {rota_spawner_fd (spawner), POLLIN, 0};
        assert_int_not_equal (poll (&item, 1, WATCHDOG_MS), 0);
    }
    assert_int_equal (status, 1);
    return end;
}

static rota_outcome_t outcome_of (const order_t *what)
{
    char name[ROTA_SPOOL_NAME_BYTES];
    rota_spool_record_t record = {0};
    rota_spool_name (what->attempt.store, what->attempt.key, what->attempt.number, name);
    assert_int_equal (rota_spool_read (spool, name, &record), 0);
    assert_true (record.finished);
    assert_int_equal (rota_spool_remove (spool, name), 0);
    return record.outcome;
}

static rota_outcome_t finish (const order_t *what, int control_fd)
{
    rota_spawner_end_t end = next_end ();
    assert_int_equal (end.error, 0);
    assert_int_equal (end.status, 0);
    assert_int_equal (end.launch, launches);
    if (control_fd >= 0)
        close (control_fd);
    return outcome_of (what);
}

static rota_outcome_t run (const order_t *what)
{
    return finish (what, launch (what));
}

static const char *output (void)
{
    static char text[65536];
    rota_output_piece_t piece;
    assert_int_equal (rota_output_read (log_path (), 0, text, sizeof text - 1, &piece), 0);
    text[piece.size_bytes] = 0;
    return text;
}

/* The command has come so far that it said `word`. */
static void wait_for_output (const char *word)
{
    int64_t end_ms = rota_clock_monotonic_ms () + WATCHDOG_MS;
    for (;;) {
        rota_output_piece_t piece;
        char text[4096];
        int status = rota_output_read (log_path (), 0, text, sizeof text, &piece);
        if (status == 0 && memmem (text, piece.size_bytes, word, strlen (word)))
            return;
        assert_true (rota_clock_monotonic_ms () < end_ms);
        usleep (NAP_US);
    }
}

/* ---- the command by itself */

static void a_command_ends_by_itself_with_its_exit_code (void **state)
{
    (void)state;
    rota_outcome_t outcome = run (order ("echo out; echo err >&2; echo \"$GREETING\"; exit 7"));
    assert_true (outcome.started);
    assert_int_equal (outcome.exit_code, 7);
    assert_int_equal (outcome.signal, 0);
    assert_int_equal (outcome.end, ROTA_END_NONE);
    assert_true (outcome.tree_dead);
    assert_string_equal (outcome.task_id, "task one");
    assert_string_equal (output (), "out\nerr\nhello world\n");
    assert_int_equal (outcome.output_bytes, 20);
    assert_true (outcome.max_rss_bytes > 0);
    assert_true (outcome.finished_ms >= outcome.started_ms);
}

static void a_signal_is_told_from_an_exit_code (void **state)
{
    (void)state;
    rota_outcome_t outcome = run (order ("kill -9 $$"));
    assert_int_equal (outcome.signal, SIGKILL);
    assert_int_equal (outcome.exit_code, -1);
    assert_int_equal (outcome.end, ROTA_END_NONE);
}

static void the_environment_is_the_one_given_and_nothing_else (void **state)
{
    (void)state;
    setenv ("SECRET_OF_THE_HOST", "x", 1);
    order_t *what = order ("");
    what->argv[0] = (char *)"env"; /* looked up in the PATH given */
    what->argv[1] = NULL;
    run (what);
    unsetenv ("SECRET_OF_THE_HOST");
    char expected[256];
    snprintf (expected, sizeof expected, "PATH=/usr/local/bin:/usr/bin:/bin\n%s\nGREETING=hello world\n",
              mark);
    assert_string_equal (output (), expected);
}

static void a_command_has_only_its_three_descriptors_and_default_signals (void **state)
{
    (void)state;
    int leak = open ("/etc/passwd", O_RDONLY); /* not close-on-exec */
    run (
        order ("ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\n\\t'"));
    close (leak);
    /* 3 is the directory that ls itself reads. */
    assert_string_equal (output (), "0 1 2 3 SigBlk:0000000000000000SigIgn:0000000000000000");
}

static void input_reaches_the_command_and_else_there_is_none (void **state)
{
    (void)state;
    size_t size = 1 << 20;
    char *text = malloc (size + 1);
    memset (text, 'x', size);
    text[size] = 0;
    order_t *what = order ("wc -c");
    what->attempt.input = text;
    run (what);
    free (text);
    assert_int_equal (strtol (output (), NULL, 10), 1 << 20);
    run (order ("wc -c"));
    assert_int_equal (strtol (output (), NULL, 10), 0);
}

static void output_keeps_its_nul_bytes (void **state)
{
    (void)state;
    rota_outcome_t outcome = run (order ("printf 'a\\000b\\000'"));
    rota_output_piece_t piece;
    char bytes[8];
    assert_int_equal (outcome.output_bytes, 4);
    assert_int_equal (rota_output_read (log_path (), 0, bytes, sizeof bytes, &piece), 0);
    assert_int_equal (piece.size_bytes, 4);
    assert_memory_equal (bytes, "a\0b\0", 4);
}

static void a_flood_of_output_is_bounded_and_its_end_is_kept (void **state)
{
    (void)state;
    struct stat info;
    rota_outcome_t outcome = run (order ("echo begin; head -c 200000000 /dev/zero; echo end"));
    assert_int_equal (outcome.output_bytes, 200000000 + 10);
    assert_int_equal (outcome.exit_code, 0);
    assert_true (outcome.output_dropped_bytes > 198000000);
    assert_int_equal (stat (log_path (), &info), 0);
    assert_true (info.st_size <= (1 << 20) + 200);
    assert_int_equal (info.st_mode & 0777, 0600);
    rota_output_piece_t piece;
    char bytes[16];
    assert_int_equal (rota_output_read (log_path (), outcome.output_bytes - 4, bytes, sizeof bytes, &piece),
                      0);
    assert_int_equal (piece.size_bytes, 4);
    assert_memory_equal (bytes, "end\n", 4);
}

static void a_missing_program_is_said_by_name (void **state)
{
    (void)state;
    order_t *what = order ("");
    what->argv[0] = (char *)"no-such-program";
    rota_outcome_t outcome = run (what);
    assert_false (outcome.started);
    assert_int_equal (outcome.exit_code, ENOENT);
    assert_non_null (strstr (outcome.message, "no-such-program"));
    assert_true (outcome.tree_dead);
}

static void a_missing_directory_is_said_by_name (void **state)
{
    (void)state;
    order_t *what = order ("true");
    what->attempt.directory = "/nowhere/at-all";
    rota_outcome_t outcome = run (what);
    assert_false (outcome.started);
    assert_non_null (strstr (outcome.message, "/nowhere/at-all"));
}

static void a_log_that_cannot_be_written_starts_nothing (void **state)
{
    (void)state;
    char witness[128], script[160];
    snprintf (witness, sizeof witness, "%s/witness", base);
    snprintf (script, sizeof script, "touch %s", witness);
    order_t *what = order (script);
    what->attempt.log_path = "/nowhere/log";
    rota_outcome_t outcome = run (what);
    assert_false (outcome.started);
    assert_int_equal (outcome.exit_code, ENOENT);
    assert_int_equal (access (witness, F_OK), -1);
}

static void without_a_spool_nothing_starts_and_the_host_is_told_directly (void **state)
{
    (void)state;
    order_t *what = order ("echo ran");
    what->attempt.spool_directory = "/nowhere/spool";
    int control_fd = launch (what);
    rota_spawner_end_t end = next_end ();
    assert_int_equal (WEXITSTATUS (end.status), ROTA_SHIM_TOLD);
    uint8_t bytes[ROTA_SPOOL_OUTCOME_MAX_BYTES];
    ssize_t size = recv (control_fd, bytes, sizeof bytes, 0);
    rota_outcome_t outcome;
    assert_int_equal (rota_spool_decode_outcome (bytes, (size_t)size, &outcome), 0);
    assert_int_equal (outcome.key, what->attempt.key);
    assert_false (outcome.started);
    assert_int_equal (access (log_path (), F_OK), -1);
    close (control_fd);
}

static void time_of_the_whole_tree_is_counted (void **state)
{
    (void)state;
    rota_outcome_t outcome = run (order ("(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done) & wait"));
    assert_true (outcome.user_us + outcome.system_us > 1000);
}

/* ---- its end by others */

static void a_timeout_ends_it_with_term (void **state)
{
    (void)state;
    order_t *what = order ("trap 'echo asked; exit 3' TERM; while :; do sleep 0.01; done");
    what->attempt.timeout_ms = 500;
    rota_outcome_t outcome = run (what);
    assert_int_equal (outcome.end, ROTA_END_TIMEOUT);
    assert_int_equal (outcome.exit_code, 3);
    assert_non_null (strstr (output (), "asked\n"));
    assert_int_equal (marked_alive (), 0);
}

static void what_ignores_term_is_killed_after_the_grace (void **state)
{
    (void)state;
    order_t *what = order ("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    what->attempt.timeout_ms = 300;
    what->attempt.grace_ms = 100;
    rota_outcome_t outcome = run (what);
    assert_int_equal (outcome.end, ROTA_END_TIMEOUT);
    assert_int_equal (outcome.signal, SIGKILL);
    assert_int_equal (marked_alive (), 0);
}

static void silence_ends_it_and_output_puts_that_off (void **state)
{
    (void)state;
    order_t *what = order ("for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done; exec sleep 1000");
    what->attempt.silence_ms = 1000;
    rota_outcome_t outcome = run (what);
    assert_int_equal (outcome.end, ROTA_END_SILENCE);
    assert_string_equal (output (), "1\n2\n3\n4\n5\n6\n");
}

static void a_stop_ends_it_with_the_signal_that_suits_it (void **state)
{
    (void)state;
    order_t *what = order ("trap 'exit 4' INT; trap '' TERM; echo ready; while :; do sleep 0.01; done");
    what->attempt.stop_signal = SIGINT;
    int control_fd = launch (what);
    wait_for_output ("ready");
    assert_int_equal (rota_control_stop (control_fd, 60000), 0);
    rota_outcome_t outcome = finish (what, control_fd);
    assert_int_equal (outcome.end, ROTA_END_STOPPED);
    assert_int_equal (outcome.exit_code, 4);
}

static void a_second_stop_shortens_the_grace (void **state)
{
    (void)state;
    order_t *what = order ("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    int control_fd = launch (what);
    wait_for_output ("ready");
    assert_int_equal (rota_control_stop (control_fd, 600000), 0);
    assert_int_equal (rota_control_stop (control_fd, 0), 0);
    assert_int_equal (finish (what, control_fd).signal, SIGKILL);
}

static void a_stopped_process_is_ended_too (void **state)
{
    (void)state;
    order_t *what = order ("echo ready; kill -STOP $$; exit 9");
    int control_fd = launch (what);
    wait_for_output ("ready");
    rota_control_stop (control_fd, 60000);
    assert_int_equal (finish (what, control_fd).signal, SIGTERM);
}

static void memory_over_the_limit_ends_it (void **state)
{
    (void)state;
    order_t *what = order ("x=$(head -c 100000000 /dev/zero | tr '\\0' x); sleep 1000");
    what->attempt.memory_limit_bytes = 50 << 20;
    rota_outcome_t outcome = run (what);
    assert_int_equal (outcome.end, ROTA_END_MEMORY);
    assert_int_equal (marked_alive (), 0);
}

/* ---- nothing is left */

static const char *const LEAVERS[] = {
    "sleep 1000 & exit 0",
    "(setsid sleep 1000 &) ; exit 0",
    "setsid sh -c 'setsid sleep 1000 & setsid sleep 1000 & exit 0' & exit 0",
    "(trap '' TERM HUP INT; setsid sh -c 'while :; do sleep 1; done' >/dev/null 2>&1 </dev/null &) ; exit 0",
    "setsid sh -c 'kill -STOP $$' & exit 0",
    "i=0; while [ $i -lt 50 ]; do sleep 1000 & i=$((i+1)); done; exit 0",
};

static void what_the_command_leaves_behind_is_ended (void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof LEAVERS / sizeof *LEAVERS; i++) {
        order_t *what = order (LEAVERS[i]);
        what->attempt.grace_ms = 50;
        rota_outcome_t outcome = run (what);
        assert_int_equal (outcome.exit_code, 0);
        assert_int_equal (outcome.end, ROTA_END_NONE);
        assert_true (outcome.tree_dead);
        assert_int_equal (marked_alive (), 0);
    }
}

static void a_stop_reaches_children_that_left_the_session (void **state)
{
    (void)state;
    order_t *what = order ("setsid sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.05; done' & wait");
    what->attempt.grace_ms = 100;
    int control_fd = launch (what);
    wait_for_output ("ready");
    rota_control_stop (control_fd, 100);
    assert_int_equal (finish (what, control_fd).end, ROTA_END_STOPPED);
    assert_int_equal (marked_alive (), 0);
}

static void a_fork_bomb_is_ended (void **state)
{
    (void)state;
    /* Bounded, so that a failure doesn't take the machine along. */
    order_t *what = order (
        "echo ready; b () { [ $1 -gt 0 ] || exec sleep 1000; b $(($1-1)) & b $(($1-1)) & wait; }; b 7");
    int control_fd = launch (what);
    wait_for_output ("ready");
    rota_control_stop (control_fd, 0);
    assert_true (finish (what, control_fd).tree_dead);
    assert_int_equal (marked_alive (), 0);
}

static void in_a_cgroup_the_same_holds_and_no_group_is_left (void **state)
{
    (void)state;
    char parent[ROTA_CGROUP_PATH_BYTES];
    if (rota_cgroup_find_parent (parent) < 0) {
        print_message ("SKIPPED: no cgroup can be made here\n");
        skip ();
    }
    for (size_t i = 0; i < sizeof LEAVERS / sizeof *LEAVERS; i++) {
        order_t *what = order (LEAVERS[i]);
        what->attempt.grace_ms = 50;
        what->attempt.cgroup_parent = parent;
        assert_true (run (what).tree_dead);
        assert_int_equal (marked_alive (), 0);
    }
    order_t *what = order ("cat /proc/self/cgroup");
    what->attempt.cgroup_parent = parent;
    run (what);
    assert_non_null (strstr (output (), "/rota-"));
    /* Those of our spool; other hosts may be at work here. */
    char own[ROTA_SWEEP_MARK_BYTES];
    rota_sweep_mark (spool, 0, 0, own);
    *strchr (own, '-') = 0;
    DIR *directory = opendir (parent);
    for (struct dirent *entry; (entry = readdir (directory));)
        assert_null (strstr (entry->d_name, own));
    closedir (directory);
}

static void a_cgroup_that_cannot_be_had_is_no_error (void **state)
{
    (void)state;
    order_t *what = order ("exit 5");
    what->attempt.cgroup_parent = "/nowhere/cgroup";
    assert_int_equal (run (what).exit_code, 5);
}

/* ---- the host and the shim die */

static void the_tree_ends_when_the_host_is_gone (void **state)
{
    (void)state;
    order_t *what = order ("echo ready; exec sleep 1000");
    int control_fd = launch (what);
    wait_for_output ("ready");
    close (control_fd);
    assert_int_equal (finish (what, -1).end, ROTA_END_LEASE);
    assert_int_equal (marked_alive (), 0);
}

static void on_lost_continue_goes_on_without_its_host (void **state)
{
    (void)state;
    char gate[128], script[256];
    snprintf (gate, sizeof gate, "%s/gate", base);
    assert_int_equal (mkfifo (gate, 0600), 0);
    snprintf (script, sizeof script, "echo ready; cat %s; exit 6", gate);
    order_t *what = order (script);
    what->attempt.lease_ms = 0;
    int control_fd = launch (what);
    wait_for_output ("ready");
    close (control_fd);
    int fd = open (gate, O_WRONLY);
    assert_int_equal (write (fd, "went on\n", 8), 8);
    close (fd);
    rota_outcome_t outcome = finish (what, -1);
    assert_int_equal (outcome.exit_code, 6);
    assert_string_equal (output (), "ready\nwent on\n");
    unlink (gate);
}

static void a_lease_that_is_not_renewed_ends_it (void **state)
{
    (void)state;
    order_t *what = order ("exec sleep 1000");
    what->attempt.lease_ms = 200;
    assert_int_equal (run (what).end, ROTA_END_LEASE);
}

static void a_lease_that_is_renewed_keeps_it_alive (void **state)
{
    (void)state;
    order_t *what = order ("sleep 2; exit 8");
    what->attempt.lease_ms = 1000;
    int control_fd = launch (what);
    rota_control_renew (control_fd, 600000);
    assert_int_equal (finish (what, control_fd).exit_code, 8);
}

static void a_host_that_is_killed_takes_its_trees_along_and_leaves_their_records (void **state)
{
    (void)state;
    order_t *what = order ("echo ready; setsid sleep 1000 & exec sleep 1000");
    pid_t host = fork ();
    if (host == 0) {
        rota_spawner_t *own = rota_spawner_start (NULL);
        int control_fd;
        if (!own || rota_spawner_launch (own, &what->attempt, 1, &control_fd) < 0)
            _exit (1);
        for (;;)
            pause ();
    }
    wait_for_output ("ready");
    char name[ROTA_SPOOL_NAME_BYTES];
    rota_spool_record_t record = {0};
    rota_spool_name (what->attempt.store, what->attempt.key, 1, name);
    assert_int_equal (rota_spool_read (spool, name, &record), 0);
    assert_false (record.finished);
    assert_true (rota_process_lives (record.running.shim_pid, record.running.shim_start_ticks));
    assert_int_equal (kill (host, SIGKILL), 0);
    assert_int_equal (waitpid (host, NULL, 0), host);
    int64_t end_ms = rota_clock_monotonic_ms () + WATCHDOG_MS;
    while (rota_process_lives (record.running.shim_pid, record.running.shim_start_ticks)) {
        assert_true (rota_clock_monotonic_ms () < end_ms);
        usleep (NAP_US);
    }
    assert_int_equal (marked_alive (), 0);
    assert_int_equal (outcome_of (what).end, ROTA_END_LEASE);
}

static void term_to_the_shim_ends_its_tree_in_order (void **state)
{
    (void)state;
    order_t *what = order ("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    int control_fd = launch (what);
    wait_for_output ("ready");
    char name[ROTA_SPOOL_NAME_BYTES];
    rota_spool_record_t record = {0};
    rota_spool_name (what->attempt.store, what->attempt.key, 1, name);
    assert_int_equal (rota_spool_read (spool, name, &record), 0);
    assert_int_equal (kill (record.running.shim_pid, SIGTERM), 0);
    rota_outcome_t outcome = finish (what, control_fd);
    assert_int_equal (outcome.end, ROTA_END_STOPPED);
    assert_int_equal (outcome.exit_code, 3);
}

static void when_a_shim_is_killed_its_end_is_told_only_after_its_tree_is_dead (void **state)
{
    (void)state;
    order_t *what = order ("trap '' TERM HUP; (setsid sh -c 'while :; do sleep 0.05; done' &); echo ready; "
                           "while :; do sleep 0.05; done");
    int control_fd = launch (what);
    wait_for_output ("ready");
    char name[ROTA_SPOOL_NAME_BYTES];
    rota_spool_record_t record = {0};
    rota_spool_name (what->attempt.store, what->attempt.key, 1, name);
    assert_int_equal (rota_spool_read (spool, name, &record), 0);
    /* Another attempt runs on beside it, untouched. */
    char key_script[64] = "sleep 1; exit 11";
    order_t first = *what;
    char other_log[128];
    snprintf (other_log, sizeof other_log, "%s/log2", base);
    order_t *other = order (key_script);
    other->attempt.log_path = other_log;
    uint64_t first_launch = launches;
    int other_fd = launch (other);
    assert_int_equal (kill (record.running.shim_pid, SIGKILL), 0);
    rota_spawner_end_t end = next_end ();
    assert_int_equal (end.launch, first_launch);
    assert_true (WIFSIGNALED (end.status));
    assert_true (marked_alive () <= 2); /* the other one's shell and sleep */
    close (control_fd);
    rota_spool_name (first.attempt.store, first.attempt.key, 1, name);
    assert_int_equal (rota_spool_read (spool, name, &record), 0);
    assert_false (record.finished);
    rota_spool_remove (spool, name);
    assert_int_equal (finish (other, other_fd).exit_code, 11);
    assert_int_equal (marked_alive (), 0);
}

/* ---- many */

static size_t entries_of (const char *path)
{
    size_t count = 0;
    DIR *directory = opendir (path);
    while (readdir (directory))
        count++;
    closedir (directory);
    return count;
}

static void a_thousand_short_attempts_leave_no_process_descriptor_or_file (void **state)
{
    (void)state;
    char spawner_fds[64];
    snprintf (spawner_fds, sizeof spawner_fds, "/proc/%d/fd", (int)rota_spawner_pid (spawner));
    run (order ("true"));
    size_t ours = entries_of ("/proc/self/fd"), its = entries_of (spawner_fds), files = entries_of (base);
    for (int i = 0; i < 1000; i++) {
        order_t *what = order ("true");
        if (i % 50 == 0)
            what = order ("(setsid sleep 1000 &); exit 0");
        what->attempt.grace_ms = 100;
        assert_true (run (what).tree_dead);
    }
    assert_int_equal (entries_of ("/proc/self/fd"), ours);
    assert_int_equal (entries_of (spawner_fds), its);
    assert_int_equal (entries_of (base), files);
    assert_int_equal (entries_of (spool), 2);
    assert_int_equal (marked_alive (), 0);
    rota_tree_t tree = {0};
    assert_int_equal (rota_tree_collect (&tree, rota_spawner_pid (spawner), NULL, NULL), 0);
    assert_int_equal (tree.count, 0);
    rota_tree_clear (&tree);
}

static void a_lock_that_the_spawner_holds_is_free_when_it_has_ended (void **state)
{
    (void)state;
    int pair[2];
    char byte;
    assert_int_equal (pipe2 (pair, O_CLOEXEC), 0);
    rota_spawner_t *own = rota_spawner_start (NULL);
    assert_int_equal (rota_spawner_hold (own, pair[1]), 0);
    close (pair[1]);
    fcntl (pair[0], F_SETFL, O_NONBLOCK);
    assert_int_equal (read (pair[0], &byte, 1), -1); /* open somewhere: no end of file */
    rota_spawner_destroy (&own);
    assert_int_equal (read (pair[0], &byte, 1), 0);
    close (pair[0]);
}

static int open_all (void **state)
{
    (void)state;
    prctl (PR_SET_CHILD_SUBREAPER, 1); /* what a dying host leaves is seen, not lost to pid 1 */
    strcpy (base, "/tmp/rota-shim-XXXXXX");
    if (!mkdtemp (base))
        return -1;
    snprintf (spool, sizeof spool, "%s/spool", base);
    snprintf (mark, sizeof mark, "ROTA_TEST_MARK=%s", base);
    mkdir (spool, 0700);
    spawner = rota_spawner_start (NULL);
    return spawner ? 0 : -1;
}

static int close_all (void **state)
{
    (void)state;
    rota_spawner_destroy (&spawner);
    remove_tree (base);
    return 0;
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_command_ends_by_itself_with_its_exit_code),
        cmocka_unit_test (a_signal_is_told_from_an_exit_code),
        cmocka_unit_test (the_environment_is_the_one_given_and_nothing_else),
        cmocka_unit_test (a_command_has_only_its_three_descriptors_and_default_signals),
        cmocka_unit_test (input_reaches_the_command_and_else_there_is_none),
        cmocka_unit_test (output_keeps_its_nul_bytes),
        cmocka_unit_test (a_flood_of_output_is_bounded_and_its_end_is_kept),
        cmocka_unit_test (a_missing_program_is_said_by_name),
        cmocka_unit_test (a_missing_directory_is_said_by_name),
        cmocka_unit_test (a_log_that_cannot_be_written_starts_nothing),
        cmocka_unit_test (without_a_spool_nothing_starts_and_the_host_is_told_directly),
        cmocka_unit_test (time_of_the_whole_tree_is_counted),
        cmocka_unit_test (a_timeout_ends_it_with_term),
        cmocka_unit_test (what_ignores_term_is_killed_after_the_grace),
        cmocka_unit_test (silence_ends_it_and_output_puts_that_off),
        cmocka_unit_test (a_stop_ends_it_with_the_signal_that_suits_it),
        cmocka_unit_test (a_second_stop_shortens_the_grace),
        cmocka_unit_test (a_stopped_process_is_ended_too),
        cmocka_unit_test (memory_over_the_limit_ends_it),
        cmocka_unit_test (what_the_command_leaves_behind_is_ended),
        cmocka_unit_test (a_stop_reaches_children_that_left_the_session),
        cmocka_unit_test (a_fork_bomb_is_ended),
        cmocka_unit_test (in_a_cgroup_the_same_holds_and_no_group_is_left),
        cmocka_unit_test (a_cgroup_that_cannot_be_had_is_no_error),
        cmocka_unit_test (the_tree_ends_when_the_host_is_gone),
        cmocka_unit_test (on_lost_continue_goes_on_without_its_host),
        cmocka_unit_test (a_lease_that_is_not_renewed_ends_it),
        cmocka_unit_test (a_lease_that_is_renewed_keeps_it_alive),
        cmocka_unit_test (a_host_that_is_killed_takes_its_trees_along_and_leaves_their_records),
        cmocka_unit_test (term_to_the_shim_ends_its_tree_in_order),
        cmocka_unit_test (when_a_shim_is_killed_its_end_is_told_only_after_its_tree_is_dead),
        cmocka_unit_test (a_thousand_short_attempts_leave_no_process_descriptor_or_file),
        cmocka_unit_test (a_lock_that_the_spawner_holds_is_free_when_it_has_ended),
    };
    return cmocka_run_group_tests (tests, open_all, close_all);
}
