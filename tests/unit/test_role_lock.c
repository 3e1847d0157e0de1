/* Who has a role, and how another gets it, a sentence a test. The holder is a process of its own where it is
 * to die or to hang. */
#include "bus/clock.h"
#include "bus/role_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define DEAD_AFTER_MS 3000

typedef struct {
    char directory[64], path[128];
    rota_role_lock_t *lock;
    pid_t holder;
    int64_t now_ms; /* as the lock is told */
} scene_t;

static rota_role_lock_t *open_lock (const scene_t *scene, const char *note)
{
    rota_role_lock_config_t config = {
        .path = scene->path, .role = "scheduler", .note = note, .dead_after_ms = DEAD_AFTER_MS};
    rota_role_lock_t *lock = NULL;
    rota_error_t error = {.text = ""};
    if (rota_role_lock_new (&config, &lock, &error) < 0)
        fail_msg ("%s", error.text);
    return lock;
}

/* A process that holds the role and marks its progress until it is ended or stopped. */
static void start_holder (scene_t *scene)
{
    int ready[2];
    char byte;
    assert_int_equal (pipe (ready), 0);
    scene->holder = fork ();
    if (scene->holder == 0) {
        rota_error_t error;
        int64_t again_ms;
        rota_role_lock_t *lock = open_lock (scene, "the note");
        if (rota_role_lock_try (lock, &error) < 0 || write (ready[1], "x", 1) != 1)
            _exit (1);
        for (int64_t now_ms = rota_clock_monotonic_ms ();; now_ms += ROTA_ROLE_MARK_MS) {
            rota_role_lock_step (lock, now_ms, &again_ms, &error);
            poll (NULL, 0, 1);
        }
    }
    close (ready[1]);
    assert_int_equal (read (ready[0], &byte, 1), 1);
    close (ready[0]);
}

/* Lets `for_ms` pass, as the lock is told, in looks that are in time. Returns what the last step said. */
static int stand_by (scene_t *scene, int64_t for_ms)
{
    rota_error_t error = {.text = ""};
    int64_t end_ms = scene->now_ms + for_ms, again_ms;
    int result = 0;
    while (result == 0 && scene->now_ms < end_ms) {
        result = rota_role_lock_step (scene->lock, scene->now_ms, &again_ms, &error);
        scene->now_ms = again_ms > scene->now_ms ? again_ms : scene->now_ms + 1;
    }
    return result;
}

/* In real time, since a process' end is awaited. */
static void expect_taken (scene_t *scene)
{
    rota_error_t error = {.text = ""};
    int64_t again_ms;
    int result = 0;
    for (int i = 0; i < 6000 && result == 0; i++) {
        scene->now_ms += 10;
        result = rota_role_lock_step (scene->lock, scene->now_ms, &again_ms, &error);
        poll (NULL, 0, 10);
    }
    assert_int_equal (result, 1);
    assert_true (rota_role_lock_is_held (scene->lock));
}

static void stop_holder (const scene_t *scene)
{
    int status;
    kill (scene->holder, SIGSTOP);
    assert_int_equal (waitpid (scene->holder, &status, WUNTRACED), scene->holder);
    assert_true (WIFSTOPPED (status));
}

static bool is_alive (const scene_t *scene)
{
    int status;
    return waitpid (scene->holder, &status, WNOHANG) == 0;
}

/* ---- the tests */

static void who_comes_second_stands_by_and_says_for_whom (void **state)
{
    scene_t *scene = *state;
    char wanted[64];
    start_holder (scene);
    assert_int_equal (stand_by (scene, 1000), 0);
    const rota_role_holder_t *holder = rota_role_lock_holder (scene->lock);
    assert_int_equal (holder->pid, scene->holder);
    assert_string_equal (holder->note, "the note");
    snprintf (wanted, sizeof wanted, "stands by: another scheduler (pid %d since 2", scene->holder);
    const char *news = rota_role_lock_news (scene->lock);
    assert_non_null (news);
    assert_memory_equal (news, wanted, strlen (wanted));
    assert_null (rota_role_lock_news (scene->lock));
    assert_true (is_alive (scene));
}

static void an_idle_holder_that_marks_its_progress_is_never_ended (void **state)
{
    scene_t *scene = *state;
    rota_error_t error;
    int64_t again_ms;
    start_holder (scene);
    for (int i = 0; i < 300; i++) { /* a minute, as the lock is told; the holder's time runs faster */
        scene->now_ms += 200;
        assert_int_equal (rota_role_lock_step (scene->lock, scene->now_ms, &again_ms, &error), 0);
        poll (NULL, 0, 5);
    }
    assert_true (is_alive (scene));
}

static void a_holder_that_is_killed_is_followed_at_once (void **state)
{
    scene_t *scene = *state;
    start_holder (scene);
    assert_int_equal (stand_by (scene, 100), 0);
    int fd = rota_role_lock_fd (scene->lock);
    assert_true (fd >= 0);
    kill (scene->holder, SIGKILL);
    struct pollfd item = {.fd = fd, .events = POLLIN};
    assert_int_equal (poll (&item, 1, 60000), 1);
    expect_taken (scene);
    assert_int_equal (rota_role_lock_fd (scene->lock), -1);
}

static void a_holder_that_stands_still_for_too_long_is_ended_and_followed (void **state)
{
    scene_t *scene = *state;
    start_holder (scene);
    stop_holder (scene);
    assert_int_equal (stand_by (scene, DEAD_AFTER_MS), 0);
    assert_true (is_alive (scene));
    stand_by (scene, 1000);
    int status;
    assert_int_equal (waitpid (scene->holder, &status, 0), scene->holder);
    assert_true (WIFSIGNALED (status) && WTERMSIG (status) == SIGKILL);
    expect_taken (scene);
    const char *news = rota_role_lock_news (scene->lock);
    assert_non_null (strstr (news, "takes over as scheduler from one that hung"));
}

static void the_time_in_which_we_stood_still_ourselves_does_not_count (void **state)
{
    scene_t *scene = *state;
    start_holder (scene);
    stop_holder (scene);
    for (int i = 0; i < 10; i++) {
        assert_int_equal (stand_by (scene, 500), 0);
        scene->now_ms += 3600 * 1000; /* we were stopped, too, or the machine slept */
    }
    assert_true (is_alive (scene));
}

static void a_holder_that_said_it_would_be_busy_is_given_that_time (void **state)
{
    scene_t *scene = *state;
    char line[256];
    start_holder (scene);
    stop_holder (scene);
    /* As rota_role_lock_allow of the holder writes it. */
    FILE *file = fopen (scene->path, "r+");
    assert_non_null (file);
    assert_non_null (fgets (line, sizeof line, file));
    assert_non_null (fgets (line, sizeof line, file));
    assert_int_equal (fseek (file, ftell (file), SEEK_SET), 0);
    fprintf (file, "%020d %010d\n", 77, 60000);
    fclose (file);
    assert_int_equal (stand_by (scene, 60000), 0);
    assert_true (is_alive (scene));
    stand_by (scene, DEAD_AFTER_MS + 1000);
    int status;
    assert_int_equal (waitpid (scene->holder, &status, 0), scene->holder);
}

static void a_process_that_only_has_the_holders_number_is_not_ended (void **state)
{
    scene_t *scene = *state;
    char line[256], rest[256] = "";
    start_holder (scene);
    stop_holder (scene);
    /* The record of one that is dead, whose number another process has got: the start time differs. */
    FILE *file = fopen (scene->path, "r+");
    assert_non_null (fgets (line, sizeof line, file));
    assert_non_null (fgets (rest, sizeof rest, file));
    *strrchr (line, ' ') = '\0';
    rewind (file);
    fprintf (file, "%s 1\n%s%020d %010d\n", line, rest, 5, 0);
    fclose (file);
    assert_int_equal (stand_by (scene, 10 * DEAD_AFTER_MS), 0);
    assert_true (is_alive (scene));
    const char *news = rota_role_lock_news (scene->lock);
    assert_non_null (strstr (news, "can't be found from here"));
}

static void a_holder_whose_file_was_removed_gives_the_role_up (void **state)
{
    scene_t *scene = *state;
    rota_error_t error = {.text = ""};
    int64_t again_ms;
    assert_int_equal (rota_role_lock_try (scene->lock, &error), 0);
    unlink (scene->path);
    scene->now_ms = rota_clock_monotonic_ms () + 2 * ROTA_ROLE_MARK_MS;
    assert_int_equal (rota_role_lock_step (scene->lock, scene->now_ms, &again_ms, &error), -ESTALE);
    assert_non_null (strstr (error.text, "was removed or replaced"));
}

static void who_waits_at_a_removed_file_finds_the_one_in_its_place (void **state)
{
    scene_t *scene = *state;
    rota_error_t error;
    unlink (scene->path); /* our descriptor leads nowhere now */
    start_holder (scene);
    assert_int_equal (rota_role_lock_try (scene->lock, &error), -EBUSY);
}

static void rubbish_in_the_file_hinders_nobody_and_names_nobody (void **state)
{
    static const char *const RUBBISH[] = {"", "\n\n\n", "\xff\xff\xff", "1 2 3 4\n",
                                          "99999999999999999999 a b c\n\n\n"};
    scene_t *scene = *state;
    rota_error_t error;
    int64_t again_ms;
    rota_role_lock_t *other = open_lock (scene, NULL);
    assert_int_equal (rota_role_lock_try (other, &error), 0);
    for (size_t i = 0; i < sizeof RUBBISH / sizeof *RUBBISH; i++) {
        FILE *file = fopen (scene->path, "w");
        fputs (RUBBISH[i], file);
        fclose (file);
        scene->now_ms += 1000;
        assert_int_equal (rota_role_lock_step (scene->lock, scene->now_ms, &again_ms, &error), 0);
        assert_int_equal (rota_role_lock_holder (scene->lock)->pid, 0);
        assert_int_equal (rota_role_lock_try (scene->lock, &error), -EBUSY);
    }
    rota_role_lock_destroy (&other);
    assert_int_equal (rota_role_lock_try (scene->lock, &error), 0);
}

/* ---- scene */

static int set_up (void **state)
{
    scene_t *scene = calloc (1, sizeof *scene);
    snprintf (scene->directory, sizeof scene->directory, "/tmp/rota-test-XXXXXX");
    if (!mkdtemp (scene->directory))
        return -1;
    snprintf (scene->path, sizeof scene->path, "%s/scheduler.lock", scene->directory);
    scene->lock = open_lock (scene, NULL);
    scene->now_ms = 1000;
    *state = scene;
    return 0;
}

static int tear_down (void **state)
{
    scene_t *scene = *state;
    rota_role_lock_destroy (&scene->lock);
    if (scene->holder > 0) {
        kill (scene->holder, SIGKILL);
        waitpid (scene->holder, NULL, 0);
    }
    unlink (scene->path);
    rmdir (scene->directory);
    free (scene);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, set_up, tear_down)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (who_comes_second_stands_by_and_says_for_whom),
        TEST (an_idle_holder_that_marks_its_progress_is_never_ended),
        TEST (a_holder_that_is_killed_is_followed_at_once),
        TEST (a_holder_that_stands_still_for_too_long_is_ended_and_followed),
        TEST (the_time_in_which_we_stood_still_ourselves_does_not_count),
        TEST (a_holder_that_said_it_would_be_busy_is_given_that_time),
        TEST (a_process_that_only_has_the_holders_number_is_not_ended),
        TEST (a_holder_whose_file_was_removed_gives_the_role_up),
        TEST (who_waits_at_a_removed_file_finds_the_one_in_its_place),
        TEST (rubbish_in_the_file_hinders_nobody_and_names_nobody),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
