/* One broker a state directory, and an epoch that only rises, a sentence a test. */
#include "broker/election.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

static int open_election (const char *directory, bool stand_by, rota_election_t **ret_election,
                          rota_error_t *error)
{
    rota_election_local_t config = {.state_dir = directory, .address = "here", .stand_by = stand_by};
    return rota_election_local_new (&config, ret_election, error);
}

static rota_election_t *lead (const char *directory, uint64_t wanted_epoch)
{
    rota_election_t *election = NULL;
    rota_election_state_t now;
    rota_error_t error = {.text = ""};
    int64_t again_ms = 0;
    int result = open_election (directory, false, &election, &error);
    if (result < 0)
        fail_msg ("%s", error.text);
    assert_int_equal (rota_election_step (election, 0, &now, &again_ms, &error), 0);
    assert_true (now.leads);
    assert_int_equal (now.epoch, wanted_epoch);
    assert_string_equal (now.leader, "");
    return election;
}

static int refused (const char *directory, rota_error_t *error)
{
    rota_election_t *election = NULL;
    int result = open_election (directory, false, &election, error);
    assert_null (election);
    return result;
}

static void put (const char *directory, const char *name, const char *text)
{
    char path[256];
    snprintf (path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen (path, "w");
    assert_non_null (file);
    fputs (text, file);
    fclose (file);
}

static void the_epoch_rises_with_every_start (void **state)
{
    for (uint64_t epoch = 1; epoch <= 5; epoch++) {
        rota_election_t *election = lead (*state, epoch);
        rota_election_destroy (&election);
        assert_null (election);
    }
}

static void a_second_broker_is_told_who_holds_the_lock (void **state)
{
    rota_error_t error;
    char wanted[64];
    rota_election_t *election = lead (*state, 1);
    assert_int_equal (refused (*state, &error), -EBUSY);
    snprintf (wanted, sizeof wanted, "another broker (pid %ld since 2", (long)getpid ());
    assert_memory_equal (error.text, wanted, strlen (wanted));
    assert_non_null (strstr (error.text, "serves this state directory"));
    rota_election_destroy (&election);
    election = lead (*state, 2); /* the refused one took no epoch */
    rota_election_destroy (&election);
}

static void a_lock_ends_with_its_process_however_that_ends (void **state)
{
    int ready[2];
    char byte;
    assert_int_equal (pipe (ready), 0);
    pid_t child = fork ();
    if (child == 0) {
        rota_election_t *election = NULL;
        rota_error_t error;
        if (open_election (*state, false, &election, &error) == 0 && write (ready[1], "x", 1) == 1)
            pause ();
        _exit (1);
    }
    assert_int_equal (read (ready[0], &byte, 1), 1);
    rota_error_t error;
    assert_int_equal (refused (*state, &error), -EBUSY);
    kill (child, SIGKILL);
    waitpid (child, NULL, 0);
    close (ready[0]);
    close (ready[1]);
    rota_election_t *election = lead (*state, 2);
    rota_election_destroy (&election);
}

static void a_lock_file_with_rubbish_in_it_is_no_obstacle (void **state)
{
    put (*state, "broker.lock", "\xff\xff what is this");
    rota_election_t *election = lead (*state, 1);
    rota_election_destroy (&election);
}

static void an_epoch_that_is_no_number_is_not_guessed (void **state)
{
    static const char *const wrong[] = {"",
                                        "\n",
                                        "abc\n",
                                        "12",
                                        "-1\n",
                                        " 12\n",
                                        "12x\n",
                                        "99999999999999999999999\n",
                                        "9223372036854775807\n"};
    rota_error_t error;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put (*state, "broker.epoch", wrong[i]);
        assert_int_equal (refused (*state, &error), -EUCLEAN);
        assert_non_null (strstr (error.text, "broker.epoch"));
    }
    put (*state, "broker.epoch", "41\n");
    rota_election_t *election = lead (*state, 42);
    rota_election_destroy (&election);
}

static void a_crash_while_the_epoch_is_written_leaves_the_old_one (void **state)
{
    put (*state, "broker.epoch", "7\n");
    put (*state, "broker.epoch.new", "8");
    rota_election_t *election = lead (*state, 8);
    rota_election_destroy (&election);
}

static void a_missing_directory_is_said_by_name (void **state)
{
    rota_error_t error;
    char path[256];
    snprintf (path, sizeof path, "%s/absent", (const char *)*state);
    assert_int_equal (refused (path, &error), -ENOENT);
    assert_non_null (strstr (error.text, "absent"));
}

static int make_directory (void **state)
{
    char *path = strdup ("/tmp/rota-test-XXXXXX");
    *state = path;
    return mkdtemp (path) ? 0 : -1;
}

static int remove_entry (const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove (path);
}

static int remove_directory (void **state)
{
    nftw (*state, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free (*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, make_directory, remove_directory)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (the_epoch_rises_with_every_start),
        TEST (a_second_broker_is_told_who_holds_the_lock),
        TEST (a_lock_ends_with_its_process_however_that_ends),
        TEST (a_lock_file_with_rubbish_in_it_is_no_obstacle),
        TEST (an_epoch_that_is_no_number_is_not_guessed),
        TEST (a_crash_while_the_epoch_is_written_leaves_the_old_one),
        TEST (a_missing_directory_is_said_by_name),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
