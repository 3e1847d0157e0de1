/* Files of keys and grants, a sentence a test. */
#include "broker/keys.h"
#include "bus/keyfile.h"
#include "bus/log.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define MASK(name) (1u << ROTA__ROLE__ROLE_##name)

typedef struct {
    char directory[64];
    rota_key_pair_t pair;
    char key[ROTA_KEY_HEX_BYTES];
} scene_t;

static const char *path_of (const scene_t *scene, const char *name)
{
    static char path[PATH_MAX];
    snprintf (path, sizeof path, "%s/%s", scene->directory, name);
    return path;
}

static void write_text (const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen (path, "w");
    assert_non_null (file);
    fputs (text, file);
    fclose (file);
    assert_int_equal (chmod (path, mode), 0);
}

static void grant (const scene_t *scene, const char *name, uint32_t roles, const char *revoked)
{
    rota_grant_t grant = {.roles = roles};
    rota_error_t error = {""};
    snprintf (grant.name, sizeof grant.name, "%s", name);
    snprintf (grant.revoked, sizeof grant.revoked, "%s", revoked ? revoked : "");
    memcpy (grant.public_key, scene->pair.public_key, sizeof grant.public_key);
    assert_int_equal (rota_grant_write (scene->directory, &grant, true, &error), 0);
}

/* ---- files */

static void a_pair_is_written_closed_and_read_again (void **state)
{
    scene_t *scene = *state;
    rota_key_pair_t read;
    rota_error_t error = {""};
    struct stat status;
    const char *path = path_of (scene, "worker.key");
    umask (0);
    assert_int_equal (rota_key_pair_write (path, &scene->pair, false, &error), 0);
    umask (022);
    assert_int_equal (stat (path, &status), 0);
    assert_int_equal (status.st_mode & 0777, 0600);
    assert_int_equal (rota_key_pair_read (path, &read, &error), 0);
    assert_memory_equal (&read, &scene->pair, sizeof read);
    assert_int_equal (rota_key_pair_write (path, &scene->pair, false, &error), -EEXIST);
    assert_int_equal (rota_key_pair_write (path, &scene->pair, true, &error), 0);
}

static void a_secret_that_others_can_get_at_is_refused (void **state)
{
    scene_t *scene = *state;
    static const mode_t MODES[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644};
    rota_key_pair_t read;
    char path[PATH_MAX];
    snprintf (path, sizeof path, "%s", path_of (scene, "worker.key"));
    assert_int_equal (rota_key_pair_write (path, &scene->pair, false, NULL), 0);
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++) {
        rota_error_t error = {""};
        assert_int_equal (chmod (path, MODES[i]), 0);
        assert_int_equal (rota_key_pair_read (path, &read, &error), -EPERM);
        assert_non_null (strstr (error.text, "chmod 600"));
    }
    assert_int_equal (chmod (path, 0400), 0);
    assert_int_equal (rota_key_pair_read (path, &read, NULL), 0);
    if (geteuid () == 0) {
        rota_error_t error = {""};
        assert_int_equal (chown (path, 12345, (gid_t)-1), 0);
        assert_int_equal (rota_key_pair_read (path, &read, &error), -EPERM);
        assert_non_null (strstr (error.text, "another user"));
    }
}

static void what_is_no_file_is_not_waited_for (void **state)
{
    scene_t *scene = *state;
    rota_key_pair_t read;
    const char *path = path_of (scene, "fifo");
    assert_int_equal (mkfifo (path, 0600), 0);
    assert_int_equal (rota_key_pair_read (path, &read, NULL), -EINVAL);
    assert_int_equal (rota_key_pair_read (scene->directory, &read, NULL), -EINVAL);
    assert_int_equal (rota_key_pair_read ("/nowhere/at/all", &read, NULL), -ENOENT);
}

static void a_grant_that_others_can_write_is_refused (void **state)
{
    scene_t *scene = *state;
    static const mode_t MODES[] = {0664, 0646, 0620, 0602};
    rota_grant_t read;
    char path[PATH_MAX];
    grant (scene, "worker", MASK (AGENT), NULL);
    snprintf (path, sizeof path, "%s", path_of (scene, "granted/worker"));
    int fd = open (path_of (scene, "granted"), O_RDONLY | O_DIRECTORY);
    assert_int_equal (rota_grant_read (fd, "worker", &read, NULL), 0);
    assert_int_equal (read.roles, MASK (AGENT));
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++) {
        rota_error_t error = {""};
        assert_int_equal (chmod (path, MODES[i]), 0);
        assert_int_equal (rota_grant_read (fd, "worker", &read, &error), -EPERM);
        assert_non_null (strstr (error.text, "written by other users"));
    }
    close (fd);
}

static void a_directory_that_others_can_write_is_refused (void **state)
{
    scene_t *scene = *state;
    char path[PATH_MAX];
    rota_error_t error = {""};
    assert_int_equal (chmod (scene->directory, 0720), 0);
    assert_int_equal (rota_keys_directory (scene->directory, "", true, path, sizeof path, &error), -EPERM);
    assert_int_equal (chmod (scene->directory, 0700), 0);
    assert_int_equal (rota_keys_directory (scene->directory, "", true, path, sizeof path, &error), 0);
    assert_int_equal (chmod (path_of (scene, "granted"), 0702), 0);
    assert_int_equal (rota_keys_directory (scene->directory, "", true, path, sizeof path, &error), -EPERM);
    assert_null (rota_keys_new (scene->directory, &error));
    assert_non_null (strstr (error.text, "written by other users"));
}

static void what_is_wrong_in_a_grant_is_said (void **state)
{
    scene_t *scene = *state;
    static const struct {
        const char *before, *after, *word;
    } BAD[] = {
        {"name: a\npublic: ", "\n", "\"roles: ...\" is missing"},
        {"public: ", "\nroles: agent\n", "\"name: ...\" is missing"},
        {"name: a\nroles: agent\n# public: ", "\n", "\"public: ...\" is missing"},
        {"name: a\nroles: agent\npublic: 0", "\n", "64 hexadecimal"},
        {"name: a\nroles: agent root\npublic: ", "\n", "no role \"root\""},
        {"name: a\nroles:  \npublic: ", "\n", "names none"},
        {"name: ../a\nroles: agent\npublic: ", "\n", "letters, digits"},
        {"name: .a\nroles: agent\npublic: ", "\n", "letters, digits"},
        {"name: a\nname: b\nroles: agent\npublic: ", "\n", "there twice"},
        {"name: a\nrole: agent\npublic: ", "\n", "known here"},
        {"name: a\nroles: agent\npublic: ", "\nrevoked: \n", "a time"},
        {"name: a\nroles: agent\npublic: ", "\nagents: \n", "names of agents"},
        {"name: a\nroles: agent\npublic: ", "\nagents: [a]\n", "names of agents"},
        {"name: a\nroles: agent\npublic: ", "\nagents: a  b\n", "names of agents"},
        {"name: a\x01\nroles: agent\npublic: ", "\n", "letters, digits"},
        {"name: a\xff\nroles: agent\npublic: ", "\n", "not a text"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        char text[512];
        rota_grant_t read;
        rota_error_t error = {""};
        int length = snprintf (text, sizeof text, "%s%s%s", BAD[i].before, scene->key, BAD[i].after);
        assert_int_equal (rota_grant_parse (text, (size_t)length, &read, &error), -EINVAL);
        if (!strstr (error.text, BAD[i].word))
            fail_msg ("%zu: %s", i, error.text);
    }
    char nul[256], zero[256];
    rota_grant_t read;
    size_t length = (size_t)snprintf (nul, sizeof nul, "name: a\nroles: agent\npublic: %s\n", scene->key);
    assert_int_equal (rota_grant_parse (nul, length, &read, NULL), 0);
    assert_int_equal (rota_grant_parse (nul, length + 1, &read, NULL), -EINVAL);
    length = (size_t)snprintf (zero, sizeof zero, "name: a\nroles: agent\npublic: %064d\n", 0);
    assert_int_equal (rota_grant_parse (zero, length, &read, NULL), -EINVAL);
}

static void a_public_key_that_is_not_the_secret_ones_is_refused (void **state)
{
    scene_t *scene = *state;
    char text[ROTA_KEYFILE_MAX_BYTES];
    rota_key_pair_t read, mixed = scene->pair;
    rota_error_t error = {""};
    mixed.public_key[7] ^= 1;
    size_t size = rota_key_pair_format (&mixed, text);
    assert_int_equal (rota_key_pair_parse (text, size, &read, &error), -EINVAL);
    assert_non_null (strstr (error.text, "not that of the secret"));
}

static void a_persons_role_includes_those_that_are_less (void **state)
{
    (void)state;
    assert_true (rota_roles_include (MASK (ADMIN), ROTA__ROLE__ROLE_READ));
    assert_true (rota_roles_include (MASK (OPERATE), ROTA__ROLE__ROLE_SUBMIT));
    assert_false (rota_roles_include (MASK (OPERATE), ROTA__ROLE__ROLE_ADMIN));
    assert_false (rota_roles_include (MASK (READ), ROTA__ROLE__ROLE_SUBMIT));
    for (Rota__Role role = ROTA__ROLE__ROLE_AGENT; role <= ROTA__ROLE__ROLE_BROKER; role++) {
        assert_false (rota_roles_include (MASK (ADMIN), role));
        assert_false (rota_roles_include (1u << role, ROTA__ROLE__ROLE_READ));
        assert_true (rota_roles_include (1u << role, role));
    }
    assert_false (rota_roles_include (~0u, ROTA__ROLE__ROLE_UNSPECIFIED));
    assert_false (rota_roles_include (~0u, (Rota__Role)31));
}

static void an_agent_is_called_as_its_key_or_as_the_grant_says (void **state)
{
    (void)state;
    static const struct {
        const char *agents, *name;
        bool fits;
    } CASES[] = {
        {"", "w7", true},
        {"", "claude@w7", true},
        {"", "x@y@w7", true},
        {"", "@w7", false},
        {"", "claude@w70", false},
        {"", "w7@w8", false},
        {"", "", false},
        {"gpu-*", "gpu-1", true},
        {"gpu-*", "gpu", false},
        {"gpu-*", "w7", false},
        {"a b", "b", true},
        {"a b", "a b", false},
        {"*", "whoever", true},
        {"claude@?", "claude@x", true},
        {"claude@?", "claude@", false},
        {"a.b", "axb", false},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        rota_grant_t grant = {.name = "w7"};
        snprintf (grant.agents, sizeof grant.agents, "%s", CASES[i].agents);
        if (rota_grant_names_agent (&grant, CASES[i].name) != CASES[i].fits)
            fail_msg ("%s as %s", CASES[i].name, CASES[i].agents);
    }
}

/* ---- the table of grants */

static void await_news (const rota_keys_t *keys)
{
    struct pollfd item = {.fd = rota_keys_fd (keys), .events = POLLIN};
    assert_int_equal (poll (&item, 1, 10000), 1);
}

static void a_change_is_seen_at_the_next_look (void **state)
{
    scene_t *scene = *state;
    rota_keys_t *keys = rota_keys_new (scene->directory, NULL);
    assert_non_null (keys);
    assert_null (rota_keys_find (keys, scene->key));
    assert_int_equal (rota_keys_look (keys, true), ROTA_KEYS_SAME);
    grant (scene, "worker", MASK (AGENT) | MASK (READ), NULL);
    await_news (keys);
    assert_int_equal (rota_keys_look (keys, false), ROTA_KEYS_CHANGED);
    assert_string_equal (rota_keys_find (keys, scene->key)->name, "worker");

    grant (scene, "worker", MASK (AGENT) | MASK (READ), "2026-11-23T12:00:00.000Z");
    assert_int_equal (rota_keys_look (keys, false), ROTA_KEYS_CHANGED); /* nobody is there with it */
    assert_null (rota_keys_find (keys, scene->key));
    assert_string_equal (rota_keys_revoked (keys, scene->key), "worker");

    grant (scene, "worker", MASK (AGENT) | MASK (READ), NULL);
    assert_int_equal (rota_keys_look (keys, false), ROTA_KEYS_CHANGED);
    rota_keys_let_in (keys, scene->key);
    grant (scene, "worker", MASK (AGENT), NULL);
    assert_int_equal (rota_keys_look (keys, false), ROTA_KEYS_TAKEN_BACK);
    assert_int_equal (rota_keys_find (keys, scene->key)->roles, MASK (AGENT));
    assert_int_equal (unlink (path_of (scene, "granted/worker")), 0);
    assert_int_equal (rota_keys_look (keys, false), ROTA_KEYS_TAKEN_BACK);
    assert_null (rota_keys_find (keys, scene->key));
    assert_null (rota_keys_revoked (keys, scene->key));
    rota_keys_destroy (&keys);
}

static void a_file_that_is_refused_grants_nothing_and_harms_no_other (void **state)
{
    scene_t *scene = *state;
    char other_key[ROTA_KEY_HEX_BYTES];
    grant (scene, "worker", MASK (AGENT), NULL);
    rota_key_pair_t other;
    rota_key_pair_new ("other", &other);
    rota_key_to_hex (other.public_key, other_key);
    rota_keys_t *keys = rota_keys_new (scene->directory, NULL);
    char text[256];
    snprintf (text, sizeof text, "name: other\npublic: %s\nroles: admin\n", other_key);
    write_text (path_of (scene, "granted/other"), text, 0666);
    write_text (path_of (scene, "granted/third"), text, 0644); /* under another's name */
    write_text (path_of (scene, "granted/.hidden"), text, 0644);
    write_text (path_of (scene, "granted/rubbish"), "rubbish\n", 0644);
    assert_int_equal (mkdir (path_of (scene, "granted/directory"), 0700), 0);
    assert_int_equal (rota_keys_look (keys, false), ROTA_KEYS_CHANGED);
    assert_null (rota_keys_find (keys, other_key));
    assert_non_null (rota_keys_find (keys, scene->key));
    assert_int_equal (chmod (path_of (scene, "granted/other"), 0644), 0);
    assert_int_equal (rota_keys_look (keys, false), ROTA_KEYS_CHANGED);
    assert_non_null (rota_keys_find (keys, other_key));
    rota_keys_destroy (&keys);
}

static void a_key_under_two_names_has_what_both_grant (void **state)
{
    scene_t *scene = *state;
    grant (scene, "a", MASK (AGENT) | MASK (READ), NULL);
    grant (scene, "b", MASK (READ) | MASK (ADMIN), NULL);
    rota_keys_t *keys = rota_keys_new (scene->directory, NULL);
    assert_int_equal (rota_keys_find (keys, scene->key)->roles, MASK (READ));
    grant (scene, "b", MASK (READ) | MASK (ADMIN), "2026-11-23T12:00:00.000Z");
    rota_keys_look (keys, false);
    assert_null (rota_keys_find (keys, scene->key));
    rota_keys_destroy (&keys);
}

static void another_directory_in_its_place_is_read_and_none_grants_nothing (void **state)
{
    scene_t *scene = *state;
    char granted[PATH_MAX], away[PATH_MAX];
    grant (scene, "worker", MASK (AGENT), NULL);
    rota_keys_t *keys = rota_keys_new (scene->directory, NULL);
    rota_keys_let_in (keys, scene->key);
    snprintf (granted, sizeof granted, "%s", path_of (scene, "granted"));
    snprintf (away, sizeof away, "%s", path_of (scene, "away"));
    assert_int_equal (rename (granted, away), 0);
    assert_int_equal (rota_keys_look (keys, false), ROTA_KEYS_TAKEN_BACK);
    assert_null (rota_keys_find (keys, scene->key));
    assert_int_equal (mkdir (granted, 0700), 0);
    grant (scene, "worker", MASK (AGENT), NULL);
    assert_int_equal (rota_keys_look (keys, true), ROTA_KEYS_CHANGED);
    assert_non_null (rota_keys_find (keys, scene->key));
    assert_int_equal (unlink (path_of (scene, "granted/worker")), 0);
    assert_int_equal (rota_keys_look (keys, false), ROTA_KEYS_CHANGED); /* watched, too */
    assert_null (rota_keys_find (keys, scene->key));
    assert_int_equal (chmod (granted, 0777), 0);
    rota_keys_look (keys, false);
    assert_null (rota_keys_find (keys, scene->key));
    rota_keys_destroy (&keys);
}

/* ---- scene */

static int open_scene (void **state)
{
    scene_t *scene = calloc (1, sizeof *scene);
    char path[PATH_MAX];
    snprintf (scene->directory, sizeof scene->directory, "/tmp/rota-test-XXXXXX");
    if (!mkdtemp (scene->directory) ||
        rota_keys_directory (scene->directory, "", true, path, sizeof path, NULL) < 0)
        return -1;
    rota_key_pair_new ("worker", &scene->pair);
    rota_key_to_hex (scene->pair.public_key, scene->key);
    *state = scene;
    return 0;
}

static int remove_entry (const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove (path);
}

static int close_scene (void **state)
{
    scene_t *scene = *state;
    nftw (scene->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free (scene);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_scene, close_scene)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_pair_is_written_closed_and_read_again),
        TEST (a_secret_that_others_can_get_at_is_refused),
        TEST (what_is_no_file_is_not_waited_for),
        TEST (a_grant_that_others_can_write_is_refused),
        TEST (a_directory_that_others_can_write_is_refused),
        TEST (what_is_wrong_in_a_grant_is_said),
        TEST (a_public_key_that_is_not_the_secret_ones_is_refused),
        TEST (a_persons_role_includes_those_that_are_less),
        TEST (an_agent_is_called_as_its_key_or_as_the_grant_says),
        TEST (a_change_is_seen_at_the_next_look),
        TEST (a_file_that_is_refused_grants_nothing_and_harms_no_other),
        TEST (a_key_under_two_names_has_what_both_grant),
        TEST (another_directory_in_its_place_is_read_and_none_grants_nothing),
    };
    rota_log_setup ("test", ROTA_LOG_ERROR, ROTA_LOG_LOGFMT);
    return cmocka_run_group_tests (tests, NULL, NULL);
}
