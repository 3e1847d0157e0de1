/* Where the state directory is, and who holds it. */
#include "cli/state.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char top[64];

static int enter (void **state)
{
    char command[128];
    (void)state;
    snprintf (top, sizeof top, "/tmp/rota-test-state-XXXXXX");
    if (!mkdtemp (top) || chdir (top) != 0)
        return -1;
    /* Whatever lies above must not be found. */
    snprintf (command, sizeof command, "mkdir -p %s/project/src/deep", top);
    return system (command) == 0 ? 0 : -1;
}

static int leave (void **state)
{
    char command[128];
    (void)state;
    snprintf (command, sizeof command, "rm -rf %s", top);
    return chdir ("/") == 0 && system (command) == 0 ? 0 : -1;
}

static void assert_found (int expected, const char *given, const char *end)
{
    char *path = NULL, wanted[256];
    rota_error_t error = {""};
    assert_int_equal (rota_state_find (given, &path, &error), expected);
    snprintf (wanted, sizeof wanted, "%s/%s", top, end);
    assert_string_equal (path, wanted);
    free (path);
}

static void a_directory_above_is_found (void **state)
{
    (void)state;
    assert_int_equal (mkdir ("project/.rota", 0700), 0);
    assert_int_equal (chdir ("project/src/deep"), 0);
    assert_found (0, NULL, "project/.rota");
}

static void a_new_one_belongs_at_the_root_of_the_repository (void **state)
{
    (void)state;
    assert_int_equal (mkdir ("project/.git", 0700), 0);
    assert_int_equal (chdir ("project/src/deep"), 0);
    assert_found (1, NULL, "project/.rota");
}

static void without_a_repository_a_new_one_belongs_here (void **state)
{
    (void)state;
    assert_int_equal (chdir ("project/src"), 0);
    assert_found (1, NULL, "project/src/.rota");
}

static void what_is_given_wins_and_need_not_exist (void **state)
{
    (void)state;
    assert_int_equal (mkdir ("project/.rota", 0700), 0);
    assert_int_equal (chdir ("project"), 0);
    assert_found (1, "../other", "other");
    assert_found (1, "new/", "project/new");
    assert_found (0, "src", "project/src");
}

static void a_parent_that_is_missing_is_a_fault (void **state)
{
    (void)state;
    char *path = (char *)&path;
    rota_error_t error = {""};
    assert_int_equal (rota_state_find ("no/such/place", &path, &error), -ENOENT);
    assert_ptr_equal (path, &path);
    assert_non_null (strstr (error.text, "no/such"));
}

static void a_file_in_its_place_is_a_fault (void **state)
{
    (void)state;
    char *path = NULL;
    rota_error_t error = {""};
    close (open ("project/.rota", O_CREAT | O_WRONLY, 0600));
    assert_int_equal (chdir ("project"), 0);
    assert_int_equal (rota_state_find (NULL, &path, &error), -ENOTDIR);
}

static void another_users_directory_is_refused (void **state)
{
    (void)state;
    char *path = NULL;
    rota_error_t error = {""};
    if (geteuid () != 0) {
        print_message ("SKIPPED: only root can give a directory to another user\n");
        skip ();
    }
    assert_int_equal (mkdir ("project/.rota", 0700), 0);
    assert_int_equal (chown ("project/.rota", 12345, 12345), 0);
    assert_int_equal (chdir ("project"), 0);
    assert_int_equal (rota_state_find (NULL, &path, &error), -EPERM);
    assert_non_null (strstr (error.text, "another user"));
}

static void it_is_made_private_and_unseen_by_git (void **state)
{
    (void)state;
    struct stat info;
    char text[8] = "";
    assert_int_equal (rota_state_make ("s", NULL), 0);
    assert_int_equal (rota_state_make ("s", NULL), 0);
    assert_int_equal (stat ("s", &info), 0);
    assert_int_equal (info.st_mode & 0777, 0700);
    int fd = open ("s/.gitignore", O_RDONLY);
    assert_int_equal (read (fd, text, sizeof text), 2);
    close (fd);
    assert_string_equal (text, "*\n");
    assert_int_equal (stat ("s/logs/services", &info), 0);
}

static void the_lock_names_its_holder_until_that_ends (void **state)
{
    (void)state;
    rota_holder_t holder = {0};
    int ready[2], go[2];
    char byte = 0;

    assert_int_equal (rota_state_make ("s", NULL), 0);
    assert_int_equal (rota_state_holder ("s", &holder), 0);
    assert_int_equal (pipe (ready), 0);
    assert_int_equal (pipe (go), 0);
    pid_t child = fork ();
    if (child == 0) {
        int fd = -1;
        close (go[1]);
        byte = rota_state_lock ("s", ROTA_SERVICES_UP, &fd, NULL) == 0 ? 'y' : 'n';
        if (write (ready[1], &byte, 1) != 1 || read (go[0], &byte, 1) < 0)
            _exit (1);
        _exit (0); /* without releasing anything */
    }
    close (go[0]);
    assert_int_equal (read (ready[0], &byte, 1), 1);
    assert_int_equal (byte, 'y');
    assert_int_equal (rota_state_holder ("s", &holder), 1);
    assert_int_equal (holder.pid, child);
    assert_int_equal (holder.services, ROTA_SERVICES_UP);
    int fd = -1;
    assert_int_equal (rota_state_lock ("s", ROTA_SERVICES_RUN, &fd, NULL), -EBUSY);
    assert_int_equal (fd, -1);
    close (go[1]);
    assert_int_equal (waitpid (child, NULL, 0), child);
    assert_int_equal (rota_state_holder ("s", &holder), 0);
    assert_int_equal (rota_state_lock ("s", ROTA_SERVICES_RUN, &fd, NULL), 0);
    close (fd);
    close (ready[0]);
    close (ready[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, enter, leave)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_directory_above_is_found),
        TEST (a_new_one_belongs_at_the_root_of_the_repository),
        TEST (without_a_repository_a_new_one_belongs_here),
        TEST (what_is_given_wins_and_need_not_exist),
        TEST (a_parent_that_is_missing_is_a_fault),
        TEST (a_file_in_its_place_is_a_fault),
        TEST (another_users_directory_is_refused),
        TEST (it_is_made_private_and_unseen_by_git),
        TEST (the_lock_names_its_holder_until_that_ends),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
