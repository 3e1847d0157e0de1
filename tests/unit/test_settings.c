/* Settings: where values come from, what is refused and where it says so. */
#include "bus/settings.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static rota_settings_t *parse_good (const char *text, const char *const *environment)
{
    rota_settings_t *settings = NULL;
    rota_error_t error = {""};
    int rc = rota_settings_parse ("c.yaml", text, strlen (text), environment, stderr, &settings, &error);
    assert_string_equal (error.text, "");
    assert_int_equal (rc, 0);
    return settings;
}

static void assert_faults (const char *text, const char *const *environment, const char *expected)
{
    rota_settings_t *settings = NULL;
    rota_error_t error = {""};
    char *faults = NULL;
    size_t size;
    FILE *stream = open_memstream (&faults, &size);
    assert_non_null (stream);
    assert_int_equal (
        rota_settings_parse ("c.yaml", text, strlen (text), environment, stream, &settings, &error), -EINVAL);
    fclose (stream);
    assert_string_equal (faults, expected);
    assert_null (settings);
    assert_true (error.text[0] != '\0');
    free (faults);
}

static char *print (const rota_settings_t *settings)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream (&text, &size);
    assert_non_null (stream);
    rota_settings_print (settings, stream);
    fclose (stream);
    return text;
}

static void without_a_file_the_defaults_hold (void **state)
{
    (void)state;
    rota_settings_t *settings = parse_good ("", NULL);
    size_t count;
    assert_int_equal (rota_setting_duration_ms (settings, ROTA_SETTING_SCHEDULER_LEASE), 120000);
    assert_int_equal (rota_setting_duration_ms (settings, ROTA_SETTING_SCHEDULER_CONVERSATION_IDLE),
                      86400000);
    assert_int_equal (rota_setting_integer (settings, ROTA_SETTING_SCHEDULER_ATTEMPTS), 3);
    assert_int_equal (rota_setting_size_bytes (settings, ROTA_SETTING_AGENTS_OUTPUT_LIMIT), 10 << 20);
    assert_string_equal (rota_setting_text (settings, ROTA_SETTING_AGENTS_SHELL), "/bin/sh");
    assert_string_equal (rota_setting_text (settings, ROTA_SETTING_TELEMETRY_METRICS_LISTEN), "");
    assert_string_equal (rota_setting_text (settings, ROTA_SETTING_LOG_LEVEL), "info");
    assert_int_equal (rota_setting_choice (settings, ROTA_SETTING_LOG_LEVEL), 2);
    const char *const *list = rota_setting_list (settings, ROTA_SETTING_AGENTS_ENVIRONMENT, &count);
    assert_true (count >= 5);
    assert_string_equal (list[0], "PATH");
    assert_null (list[count]);
    rota_setting_list (settings, ROTA_SETTING_BROKER_ENDPOINTS, &count);
    assert_int_equal (count, 0);
    rota_settings_destroy (&settings);
    assert_null (settings);
    rota_settings_destroy (&settings);
}

static void the_file_wins_over_defaults_and_the_environment_over_the_file (void **state)
{
    (void)state;
    static const char *const ENVIRONMENT[] = {"HOME=/x", "ROTA_SCHEDULER_LEASE=45s", "ROTA_TASK_ID=t",
                                              "ROTA_BROKER_ENDPOINTS=tcp://127.0.0.1:1,tcp://127.0.0.1:2",
                                              NULL};
    rota_settings_t *settings = parse_good ("scheduler:\n"
                                            "  lease: 1m30s\n"
                                            "  grace: 7\n"
                                            "agents: {shell: /bin/bash, environment: [A, B], cgroup: off}\n"
                                            "telemetry: {metrics_listen: ~, rotate_size: 1 MiB}\n"
                                            "log:\n",
                                            ENVIRONMENT);
    size_t count;
    assert_int_equal (rota_setting_duration_ms (settings, ROTA_SETTING_SCHEDULER_LEASE), 45000);
    assert_int_equal (rota_setting_duration_ms (settings, ROTA_SETTING_SCHEDULER_GRACE), 7000);
    assert_int_equal (rota_setting_size_bytes (settings, ROTA_SETTING_TELEMETRY_ROTATE_SIZE), 1 << 20);
    assert_string_equal (rota_setting_text (settings, ROTA_SETTING_AGENTS_SHELL), "/bin/bash");
    assert_string_equal (rota_setting_text (settings, ROTA_SETTING_AGENTS_CGROUP), "off");
    assert_string_equal (rota_setting_list (settings, ROTA_SETTING_AGENTS_ENVIRONMENT, &count)[1], "B");
    assert_int_equal (count, 2);
    assert_string_equal (rota_setting_list (settings, ROTA_SETTING_BROKER_ENDPOINTS, &count)[1],
                         "tcp://127.0.0.1:2");
    assert_int_equal (count, 2);
    assert_string_equal (rota_settings_path (settings), "c.yaml");
    char *text = print (settings);
    assert_non_null (strstr (text, "  lease: 45s  # environment: ROTA_SCHEDULER_LEASE\n"));
    assert_non_null (strstr (text, "  grace: 7s  # c.yaml:3\n"));
    assert_non_null (strstr (text, "  attempts: 3  # default\n"));
    free (text);
    rota_settings_destroy (&settings);
}

static void faults_are_all_reported_with_their_positions (void **state)
{
    (void)state;
    assert_faults (
        "scheduler:\n"
        "  leese: 1s\n"
        "  lease: soon\n"
        "  attempts: 0\n"
        "  wal_limit: [1]\n"
        "  grace:\n"
        "shceduler: {}\n"
        "broker: 5\n"
        "agents: {cgroup: maybe, shell: '', environment: {a: b}}\n"
        "log: {level: Info}\n",
        NULL,
        "c.yaml:2:3: error: there is no setting scheduler.leese; did you mean lease?\n"
        "c.yaml:3:10: error: scheduler.lease: expected a duration such as 90s or 1h30m from 1s to 1h, "
        "found \"soon\"\n"
        "c.yaml:4:13: error: scheduler.attempts: expected a whole number from 1 to 100, found \"0\"\n"
        "c.yaml:5:14: error: scheduler.wal_limit: expected a size such as 10MiB from 1MiB to 16GiB, "
        "found a list\n"
        "c.yaml:6:9: error: scheduler.grace: expected a duration such as 90s or 1h30m from 0s to 10m, "
        "found nothing\n"
        "c.yaml:7:1: error: there is no section shceduler; did you mean scheduler?\n"
        "c.yaml:8:9: error: broker: expected a mapping (key: value), found \"5\"\n"
        "c.yaml:9:18: error: agents.cgroup: expected one of auto,off, found \"maybe\"\n"
        "c.yaml:9:32: error: agents.shell: expected a text (1 to 4096 bytes), found \"\"\n"
        "c.yaml:9:49: error: agents.environment: expected a list of texts (0 to 1000 entries), found a "
        "mapping (key: value)\n"
        "c.yaml:10:14: error: log.level: expected one of error,warning,info,debug, found \"Info\"\n");
    assert_faults ("scheduler: {lease: 1s, lease: 2s}\n", NULL,
                   "c.yaml:1:24: error: the key lease appears twice; first at line 1, column 13\n");
    assert_faults (
        "a: [\n", NULL,
        "c.yaml:2:1: error: not YAML: did not find expected node content (while parsing a flow node from "
        "line 2)\n");
    assert_faults ("- 1\n", NULL,
                   "c.yaml:1:1: error: the file: expected a mapping (key: value), found a list\n");
    assert_faults ("agents: {shell: \"a\\nb\"}\n", NULL,
                   "c.yaml:1:17: error: agents.shell: expected a text (1 to 4096 bytes), found \"a?b\"\n");
}

static void faults_of_the_environment_name_the_variable (void **state)
{
    (void)state;
    static const char *const ENVIRONMENT[] = {"ROTA_SCHEDULER_LEESE=5s", "ROTA_LOG_LEVEL=loud", "ROTA_=1",
                                              "ROTA_X", NULL};
    assert_faults (
        "", ENVIRONMENT,
        "environment: ROTA_SCHEDULER_LEESE: error: there is no such setting; did you mean "
        "SCHEDULER_LEASE?\n"
        "environment: ROTA_LOG_LEVEL: error: log.level: expected one of error,warning,info,debug, found "
        "\"loud\"\n");
}

static void values_that_do_not_fit_together_are_refused (void **state)
{
    (void)state;
    static const char *const ENVIRONMENT[] = {"ROTA_BROKER_DEAD_AFTER=1s", NULL};
    assert_faults (
        "scheduler:\n  lease: 8s\n", NULL,
        "c.yaml:2:10: error: scheduler.lease (8s) must be at least twice scheduler.agent_heartbeat (5s), "
        "or leases end before they can be renewed\n");
    assert_faults (
        "", ENVIRONMENT,
        "c.yaml: error: broker.dead_after (1s) must be at least twice broker.heartbeat (1s), or every "
        "peer counts as gone\n");
    assert_faults ("scheduler: {backoff_base: 10m}\n", NULL,
                   "c.yaml:1:27: error: scheduler.backoff_base is longer than scheduler.backoff_max\n");
}

static void what_is_printed_is_read_again (void **state)
{
    (void)state;
    static const char TEXT[] = "agents: {shell: 'a \"b\" \\ # c', environment: ['x: y', \"[\"]}\n"
                               "scheduler: {lease: 1m1s1ms, wal_limit: 2097153}\n";
    rota_settings_t *settings = parse_good (TEXT, NULL);
    char *text = print (settings);
    rota_settings_t *again = parse_good (text, NULL);
    assert_string_equal (rota_setting_text (again, ROTA_SETTING_AGENTS_SHELL), "a \"b\" \\ # c");
    assert_int_equal (rota_setting_duration_ms (again, ROTA_SETTING_SCHEDULER_LEASE), 61001);
    assert_int_equal (rota_setting_size_bytes (again, ROTA_SETTING_SCHEDULER_WAL_LIMIT), 2097153);
    size_t count;
    assert_string_equal (rota_setting_list (again, ROTA_SETTING_AGENTS_ENVIRONMENT, &count)[0], "x: y");
    free (text);
    rota_settings_destroy (&again);
    rota_settings_destroy (&settings);
}

/* The table says ID, section and key; the second two make the first. */
static void ids_are_made_of_section_and_key (void **state)
{
    (void)state;
    static const struct {
        const char *id, *section, *key;
    } TABLE[] = {
#define SETTING(ID, section, key, KIND, default_text, min, max, doc) {#ID, section, key},
#include "bus/settings.def"
    };
    assert_int_equal (sizeof TABLE / sizeof *TABLE, ROTA_SETTING_COUNT);
    for (size_t i = 0; i < ROTA_SETTING_COUNT; i++) {
        char id[128];
        snprintf (id, sizeof id, "%s_%s", TABLE[i].section, TABLE[i].key);
        for (char *c = id; *c; c++)
            *c = (char)toupper ((unsigned char)*c);
        assert_string_equal (TABLE[i].id, id);
    }
}

static void the_file_is_searched_for_and_a_named_one_must_be_there (void **state)
{
    (void)state;
    char base[] = "/tmp/rota-test-settings-XXXXXX", path[256], before[4096];
    rota_settings_t *settings = NULL;
    rota_error_t error;
    assert_non_null (mkdtemp (base));
    assert_non_null (getcwd (before, sizeof before));
    assert_int_equal (chdir (base), 0);
    unsetenv ("ROTA_CONFIG");
    snprintf (path, sizeof path, "%s/named.yaml", base);

    assert_int_equal (rota_settings_load (path, NULL, &settings, &error), -ENOENT);
    assert_non_null (strstr (error.text, "named.yaml: No such file or directory"));
    setenv ("ROTA_CONFIG", path, 1);
    assert_int_equal (rota_settings_load (NULL, NULL, &settings, &error), -ENOENT);
    unsetenv ("ROTA_CONFIG");
    assert_int_equal (rota_settings_load (base, NULL, &settings, &error), -EISDIR);

    FILE *file = fopen ("rota.yaml", "w");
    fputs ("scheduler: {attempts: 5}\n", file);
    fclose (file);
    assert_int_equal (rota_settings_load (NULL, NULL, &settings, &error), 0);
    assert_int_equal (rota_setting_integer (settings, ROTA_SETTING_SCHEDULER_ATTEMPTS), 5);
    assert_string_equal (rota_settings_path (settings), "./rota.yaml");
    rota_settings_destroy (&settings);

    file = fopen (path, "w");
    fputs ("scheduler: {attempts: x}\n", file);
    fclose (file);
    assert_int_equal (rota_settings_load (path, NULL, &settings, &error), -EINVAL);
    assert_non_null (strstr (error.text, "named.yaml:1:23: scheduler.attempts: expected a whole number"));
    assert_null (settings);

    assert_int_equal (unlink (path), 0);
    assert_int_equal (unlink ("rota.yaml"), 0);
    assert_int_equal (chdir (before), 0);
    assert_int_equal (rmdir (base), 0);
}

/* That docs/reference/settings.md is this text: test_reference.c. */
static void the_reference_names_every_setting (void **state)
{
    (void)state;
    static const char *const HEADINGS[] = {
#define SETTING(ID, section, key, KIND, default_text, min, max, doc) "\n### " section "." key "\n\n" doc "\n",
#include "bus/settings.def"
    };
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream (&text, &size);
    assert_non_null (stream);
    rota_settings_print_reference (stream);
    fclose (stream);
    for (size_t i = 0; i < ROTA_SETTING_COUNT; i++)
        assert_non_null (strstr (text, HEADINGS[i]));
    assert_non_null (strstr (text, "Kind: duration. Default: `120s`. Allowed: 1s to 1h. Environment: "
                                   "`ROTA_SCHEDULER_LEASE`.\n"));
    free (text);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (without_a_file_the_defaults_hold),
        cmocka_unit_test (the_file_wins_over_defaults_and_the_environment_over_the_file),
        cmocka_unit_test (faults_are_all_reported_with_their_positions),
        cmocka_unit_test (faults_of_the_environment_name_the_variable),
        cmocka_unit_test (values_that_do_not_fit_together_are_refused),
        cmocka_unit_test (what_is_printed_is_read_again),
        cmocka_unit_test (ids_are_made_of_section_and_key),
        cmocka_unit_test (the_file_is_searched_for_and_a_named_one_must_be_there),
        cmocka_unit_test (the_reference_names_every_setting),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
