/* The reference pages are what the tables in the source say. After a change of a table:
 * ROTA_WRITE_REFERENCE=1 ROTA_SOURCE=. build/dev/tests/unit/test_reference */
#include "bus/metrics.h"
#include "bus/settings.h"
#include "proto/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *source_path (const char *name)
{
    const char *source = getenv ("ROTA_SOURCE");
    char *path;
    assert_non_null (source);
    assert_true (asprintf (&path, "%s/%s", source, name) > 0);
    return path;
}

static char *read_all (const char *name)
{
    char *path = source_path (name), *text = calloc (1, 1 << 20);
    FILE *file = fopen (path, "r");
    assert_non_null (text);
    if (file) {
        size_t size = fread (text, 1, (1 << 20) - 1, file);
        text[size] = '\0';
        fclose (file);
    }
    free (path);
    return text;
}

static void write_all (const char *name, const char *text)
{
    char *path = source_path (name);
    FILE *file = fopen (path, "w");
    assert_non_null (file);
    fputs (text, file);
    fclose (file);
    free (path);
}

static void compare (const char *name, const char *expected)
{
    if (getenv ("ROTA_WRITE_REFERENCE"))
        write_all (name, expected);
    char *there = read_all (name);
    bool same = strcmp (there, expected) == 0;
    free (there);
    if (!same)
        fail_msg ("%s is not what its table says: see the top of tests/unit/test_reference.c", name);
}

static void settings_are_documented (void **state)
{
    (void)state;
    char *text;
    size_t size;
    FILE *stream = open_memstream (&text, &size);
    rota_settings_print_reference (stream);
    fclose (stream);
    compare ("docs/reference/settings.md", text);
    free (text);
}

static void metrics_are_documented (void **state)
{
    (void)state;
    char *text;
    size_t size;
    FILE *stream = open_memstream (&text, &size);
    rota_metrics_print_reference (stream);
    fclose (stream);
    compare ("docs/reference/metrics.md", text);
    free (text);
}

static void in_words (char *text)
{
    for (char *c = text; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
}

static void moves_are_documented (void **state)
{
    static const struct {
        const char *from, *to, *when;
    } moves[] = {
#define MOVE(from, to, when) {#from, #to, when},
#include "scheduler/moves.def"
    };
    (void)state;
    char *text;
    size_t size;
    FILE *stream = open_memstream (&text, &size);
    fputs ("# Moves of a task\n\nEvery move that there is; any other is refused.\n\n| from | to | when "
           "|\n|---|---|---|\n",
           stream);
    for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
        char from[32], to[32];
        snprintf (from, sizeof from, "%s", moves[i].from);
        snprintf (to, sizeof to, "%s", moves[i].to);
        in_words (from);
        in_words (to);
        fprintf (stream, "| %s | %s | %s |\n", from, to, moves[i].when);
    }
    fclose (stream);
    compare ("docs/reference/moves.md", text);
    free (text);
}

static void messages_are_documented (void **state)
{
    static const char *const directions[] = {"broker", "scheduler", "peer", "routed", "events"};
    (void)state;
    char *page = read_all ("docs/protocol.md");
    for (uint32_t type = 1; type < 200; type++) {
        const rota_catalogue_entry_t *it = rota_catalogue_find (type);
        char row[200], size[32];
        if (!it)
            continue;
        if (it->max_bytes >= 1 << 20)
            snprintf (size, sizeof size, "%zu MiB", it->max_bytes >> 20);
        else if (it->max_bytes >= 1024 && it->max_bytes % 1024 == 0)
            snprintf (size, sizeof size, "%zu KiB", it->max_bytes >> 10);
        else
            snprintf (size, sizeof size, "%zu B", it->max_bytes);
        snprintf (row, sizeof row, "| %u | %s | %s | %s | %s | %s |\n", type, it->name,
                  directions[it->direction], it->lane == ROTA_LANE_FAST ? "FAST" : "BULK", size,
                  it->durable ? "yes" : "");
        if (!strstr (page, row))
            fail_msg ("docs/protocol.md lacks this row: %s", row);
    }
    free (page);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (settings_are_documented),
        cmocka_unit_test (metrics_are_documented),
        cmocka_unit_test (moves_are_documented),
        cmocka_unit_test (messages_are_documented),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
