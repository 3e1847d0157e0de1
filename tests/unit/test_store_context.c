/* The entries of the context in the store: found by words, whatever the words are. */
#include "proto/words.h"
#include "scheduler/store_context.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char directory[64];
static rota_store_t *store;

static int set_up (void **state)
{
    char path[96];
    rota_error_t error;
    uint64_t epoch;
    (void)state;
    strcpy (directory, "/tmp/rota-entries-XXXXXX");
    if (!mkdtemp (directory))
        return -1;
    snprintf (path, sizeof path, "%s/rota.db", directory);
    return rota_store_open (path, &store, &error) < 0 || rota_store_take_role (store, &epoch, &error) < 0 ? -1
                                                                                                          : 0;
}

static int tear_down (void **state)
{
    char command[128];
    (void)state;
    rota_store_close (&store);
    snprintf (command, sizeof command, "rm -rf '%s'", directory);
    return system (command);
}

static void begin (void)
{
    rota_error_t error = {""};
    if (rota_store_begin (store, &error) < 0)
        fail_msg ("%s", error.text);
}

static void commit (void)
{
    rota_error_t error = {""};
    if (rota_store_commit (store, &error) < 0)
        fail_msg ("%s", error.text);
}

static void add (const char *text)
{
    bool is_new;
    const rota_entry_t entry = {.type = NOTE (DECISION),
                                .task = ROTA_NONE,
                                .author = "",
                                .time_ms = 1,
                                .confidence = -1,
                                .topic = "",
                                .text = text,
                                .text_length = strlen (text)};
    assert_true (rota_store_add_entry (store, &entry, NULL, 0, &is_new) > 0);
}

static void count (void *owner, const rota_entry_t *entry)
{
    (void)entry;
    ++*(size_t *)owner;
}

/* Words in one pair of quotes are an error of the index, which the next commit paid for: "user_name" is two
 * words to it. */
static void test_several_words (void **state)
{
    (void)state;
    static const struct {
        const char *words;
        size_t found;
    } CASES[] = {
        {"ledger", 2},
        {"ledger rounds", 1},
        {"rounds ledger", 1},
        {"LEDGER", 2},
        {"user_name", 1},
        {"user_name.c:12", 1},
        {"user nothing", 0},
        {"AND", 0},
        {"ledger OR name", 0},
        {"ledger*", 2},
        {"(", 0},
        {"", 0},
        {"\"", 0},
        {"text: NEAR(ledger", 0},
        {"Gr\xC3\xB6\xC3\x9F"
         "e",
         1},
        {"ledger\xE2\x80\x94rounds", 0}, /* two words to the index, one to us */
        {"'; DROP TABLE context; --", 0},
    };
    char huge[5000];
    begin ();
    add ("The ledger rounds half to even.");
    add ("A ledger is kept by user_name.c, line 12.");
    add ("Die Gr\xC3\xB6\xC3\x9F"
         "e bleibt.");
    commit ();
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        size_t found = 0;
        begin ();
        rota_store_entries_with_words (store, CASES[i].words, ROTA_ENTRY_ANY, 10, count, &found);
        commit (); /* nothing that was looked for harms what is written in the same batch */
        if (found != CASES[i].found)
            fail_msg ("\"%s\": %zu instead of %zu", CASES[i].words, found, CASES[i].found);
    }
    size_t found = 0;
    for (size_t i = 0; i + 1 < sizeof huge; i++)
        huge[i] = i % 3 ? 'a' : ' ';
    huge[sizeof huge - 1] = '\0';
    begin ();
    rota_store_entries_with_words (store, huge, ROTA_ENTRY_ANY, 10, count, &found);
    commit ();
    assert_int_equal (found, 0);
}

static void spoil (const char *sql)
{
    char path[96];
    sqlite3 *db;
    snprintf (path, sizeof path, "%s/rota.db", directory);
    assert_int_equal (sqlite3_open (path, &db), SQLITE_OK);
    assert_int_equal (sqlite3_exec (db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close (db);
}

static void look_everywhere (size_t *ret_by_words, size_t *ret_others)
{
    *ret_by_words = *ret_others = 0;
    rota_store_entries_with_words (store, "ledger", ROTA_ENTRY_ANY, 10, count, ret_by_words);
    rota_store_entries (store, ROTA_ENTRY_ANY, 10, count, ret_others);
    rota_store_entries_of_type (store, NOTE (DECISION), ROTA_ENTRY_ANY, 10, count, ret_others);
}

/* `rota context list` while a batch is open: that batch is not its cost. */
static void test_a_read_that_fails_harms_no_writer (void **state)
{
    size_t by_words, others;
    (void)state;
    begin ();
    add ("The ledger rounds half to even.");
    commit ();
    begin ();
    look_everywhere (&by_words, &others);
    commit ();
    assert_int_equal (by_words, 1);
    assert_int_equal (others, 2);
    spoil ("DROP TABLE context_words");
    begin ();
    rota_store_set_number (store, "kept", 7);
    look_everywhere (&by_words, &others);
    commit ();
    assert_int_equal (by_words, 0);
    assert_int_equal (others, 2);
    assert_int_equal (rota_store_number (store, "kept", 0), 7);
    spoil ("ALTER TABLE context RENAME TO elsewhere");
    begin ();
    rota_store_set_number (store, "kept", 8);
    look_everywhere (&by_words, &others);
    commit ();
    assert_int_equal (others, 0);
    assert_int_equal (rota_store_number (store, "kept", 0), 8);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown (test_several_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown (test_a_read_that_fails_harms_no_writer, set_up, tear_down),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
