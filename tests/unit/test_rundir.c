/* Where the sockets of a state directory are, a sentence a test. */
#include "bus/rundir.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

/* A state directory with a path of `length` bytes below the test's directory. */
static void make_state (const char *base, size_t length, char ret_path[PATH_MAX])
{
    size_t used = (size_t)snprintf (ret_path, PATH_MAX, "%s/", base);
    memset (ret_path + used, 's', length - used);
    ret_path[length] = 0;
    assert_int_equal (mkdir (ret_path, 0700), 0);
}

static void a_short_path_has_its_sockets_in_run (void **state)
{
    const char *base = *state;
    char path[PATH_MAX], again[PATH_MAX], wanted[PATH_MAX + 64];
    rota_error_t error;
    struct stat status;
    assert_int_equal (rota_rundir (base, false, path, sizeof path, &error), -ENOENT);
    assert_int_equal (rota_rundir (base, true, path, sizeof path, &error), 0);
    snprintf (wanted, sizeof wanted, "%s/run", base);
    assert_string_equal (path, wanted);
    assert_int_equal (stat (path, &status), 0);
    assert_int_equal (status.st_mode & 0777, 0700);
    assert_int_equal (rota_rundir (base, false, again, sizeof again, &error), 0);
    assert_string_equal (again, path);

    rota_rundir_endpoints_t endpoints;
    rota_rundir_endpoints (path, &endpoints);
    snprintf (wanted, sizeof wanted, "ipc://%s/client.sock", path);
    assert_string_equal (endpoints.client, wanted);
}

static void a_relative_path_names_the_same_place (void **state)
{
    const char *base = *state;
    char path[PATH_MAX], relative[PATH_MAX], before[PATH_MAX];
    assert_non_null (getcwd (before, sizeof before));
    assert_int_equal (rota_rundir (base, true, path, sizeof path, NULL), 0);
    assert_int_equal (chdir (base), 0);
    assert_int_equal (rota_rundir (".", false, relative, sizeof relative, NULL), 0);
    assert_int_equal (chdir (before), 0);
    assert_string_equal (relative, path);
}

static void the_longest_path_that_fits_is_used_and_one_byte_more_moves (void **state)
{
    const char *base = *state;
    char fits[PATH_MAX], too_long[PATH_MAX], path[PATH_MAX];
    size_t longest = ROTA_RUNDIR_PATH_BYTES - 1 - strlen ("/run/service.sock");
    make_state (base, longest, fits);
    make_state (base, longest + 1, too_long);
    assert_int_equal (rota_rundir (fits, true, path, sizeof path, NULL), 0);
    assert_memory_equal (path, fits, longest);
    assert_int_equal (rota_rundir (too_long, true, path, sizeof path, NULL), 0);
    assert_memory_equal (path, base, strlen (base)); /* XDG_RUNTIME_DIR is the test's directory */
    assert_non_null (strstr (path, "/rota-"));
    assert_true (strlen (path) + strlen ("/service.sock") < ROTA_RUNDIR_PATH_BYTES);
}

static void a_moved_place_is_found_in_another_environment (void **state)
{
    const char *base = *state;
    char long_state[PATH_MAX], path[PATH_MAX], again[PATH_MAX];
    make_state (base, 150, long_state);
    assert_int_equal (rota_rundir (long_state, false, path, sizeof path, NULL), -ENOENT);
    assert_int_equal (rota_rundir (long_state, true, path, sizeof path, NULL), 0);
    unsetenv ("XDG_RUNTIME_DIR");
    assert_int_equal (rota_rundir (long_state, false, again, sizeof again, NULL), 0);
    assert_string_equal (again, path);
    /* Gone after a reboot: made anew, here in /tmp. */
    assert_int_equal (rmdir (path), 0);
    assert_int_equal (rota_rundir (long_state, true, again, sizeof again, NULL), 0);
    assert_memory_equal (again, "/tmp/rota-", 10);
    setenv ("XDG_RUNTIME_DIR", base, 1);
    assert_int_equal (rota_rundir (long_state, false, path, sizeof path, NULL), 0);
    assert_string_equal (path, again);
    rmdir (again);
}

static void two_long_paths_never_share_a_place (void **state)
{
    const char *base = *state;
    char first[PATH_MAX], second[PATH_MAX], path[PATH_MAX], other[PATH_MAX];
    make_state (base, 150, first);
    make_state (base, 151, second);
    assert_int_equal (rota_rundir (first, true, path, sizeof path, NULL), 0);
    assert_int_equal (rota_rundir (second, true, other, sizeof other, NULL), 0);
    assert_string_not_equal (path, other);
}

static void a_directory_open_to_others_is_refused (void **state)
{
    const char *base = *state;
    char path[PATH_MAX];
    rota_error_t error;
    assert_int_equal (rota_rundir (base, true, path, sizeof path, NULL), 0);
    assert_int_equal (chmod (path, 0750), 0);
    char untouched[8] = "before";
    assert_int_equal (rota_rundir (base, true, untouched, sizeof untouched, &error), -EPERM);
    assert_non_null (strstr (error.text, "open to other users"));
    assert_string_equal (untouched, "before");
    assert_int_equal (chmod (path, 0700), 0);
    assert_int_equal (rota_rundir (base, true, untouched, sizeof untouched, &error), -ENAMETOOLONG);
}

static void a_link_or_a_file_in_its_place_is_refused (void **state)
{
    const char *base = *state;
    char run[PATH_MAX], path[PATH_MAX];
    snprintf (run, sizeof run, "%s/run", base);
    assert_int_equal (symlink ("/tmp", run), 0);
    assert_int_equal (rota_rundir (base, true, path, sizeof path, NULL), -ENOTDIR);
}

static int make_directory (void **state)
{
    char *path = strdup ("/tmp/rota-test-XXXXXX");
    *state = path;
    if (!mkdtemp (path))
        return -1;
    return setenv ("XDG_RUNTIME_DIR", path, 1);
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
        TEST (a_short_path_has_its_sockets_in_run),
        TEST (a_relative_path_names_the_same_place),
        TEST (the_longest_path_that_fits_is_used_and_one_byte_more_moves),
        TEST (a_moved_place_is_found_in_another_environment),
        TEST (two_long_paths_never_share_a_place),
        TEST (a_directory_open_to_others_is_refused),
        TEST (a_link_or_a_file_in_its_place_is_refused),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
