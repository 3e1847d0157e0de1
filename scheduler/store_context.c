#include "scheduler/store_context.h"

#include "bus/log.h"
#include "bus/names.h"
#include "scheduler/store_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUOTED_BYTES 1024
#define LOG_INTERVAL_MS 10000
#define PROBES 4 /* other texts with the same hash that are passed over */

static int64_t reference (rota_node_t node)
{
    return node == ROTA_NONE ? 0 : (int64_t)node + 1;
}

/* Questions and answers are of one attempt; what is known, is known whoever found it out. */
static int64_t digest_of (const rota_entry_t *entry)
{
    bool of_task = entry->type == NOTE (QUESTION) || entry->type == NOTE (ANSWER);
    uint64_t numbers[5] = {entry->type, rota_hash (entry->topic, entry->topic_length),
                           rota_hash (entry->text, entry->text_length),
                           of_task ? (uint64_t)reference (entry->task) : 0, of_task ? entry->attempt : 0};
    return (int64_t)rota_hash (numbers, sizeof numbers);
}

static bool equals (sqlite3_stmt *s, int column, const char *text, size_t length)
{
    const void *there = sqlite3_column_text (s, column);
    return (size_t)sqlite3_column_bytes (s, column) == length &&
           (!length || memcmp (there, text, length) == 0);
}

/* The number of the same entry, or 0 and the digest that is free. */
static uint64_t find (rota_store_t *self, const rota_entry_t *entry, int64_t *ret_digest)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_FIND_ENTRY);
    uint64_t number = 0;
    *ret_digest = digest_of (entry);
    for (int i = 0; s && i < PROBES && !number; i++) {
        sqlite3_bind_int64 (s, 1, *ret_digest);
        bool there = sqlite3_step (s) == SQLITE_ROW;
        if (there && equals (s, 1, entry->topic, entry->topic_length) &&
            equals (s, 2, entry->text, entry->text_length))
            number = (uint64_t)sqlite3_column_int64 (s, 0);
        sqlite3_reset (s);
        if (!there)
            break;
        if (!number)
            *ret_digest = (int64_t)((uint64_t)*ret_digest + 1);
    }
    return number;
}

static void bind_text (sqlite3_stmt *s, int at, const char *text, size_t length)
{
    sqlite3_bind_text (s, at, length ? text : "", (int)length, SQLITE_STATIC);
}

static void change_words (rota_store_t *self, sql_t which, uint64_t number, const rota_entry_t *entry)
{
    sqlite3_stmt *s = rota_store_sql (self, which);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, (int64_t)number);
    bind_text (s, 2, entry->topic, entry->topic_length);
    bind_text (s, 3, entry->text, entry->text_length);
    rota_store_run (self, s);
}

static uint64_t insert (rota_store_t *self, const rota_entry_t *entry, int64_t digest)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_ADD_ENTRY);
    if (!s)
        return 0;
    sqlite3_bind_int64 (s, 1, entry->type);
    if (entry->task != ROTA_NONE)
        sqlite3_bind_int64 (s, 2, reference (entry->task));
    if (entry->attempt)
        sqlite3_bind_int64 (s, 3, entry->attempt);
    sqlite3_bind_text (s, 4, entry->author ? entry->author : "", -1, SQLITE_STATIC);
    sqlite3_bind_int64 (s, 5, entry->by_hand);
    sqlite3_bind_int64 (s, 6, entry->time_ms);
    if (entry->confidence >= 0)
        sqlite3_bind_double (s, 7, entry->confidence);
    bind_text (s, 8, entry->topic, entry->topic_length);
    bind_text (s, 9, entry->text, entry->text_length);
    sqlite3_bind_int64 (s, 10, digest);
    rota_store_run (self, s);
    uint64_t number = self->failed ? 0 : (uint64_t)sqlite3_last_insert_rowid (self->db);
    if (number)
        change_words (self, SQL_ADD_ENTRY_WORDS, number, entry);
    return number;
}

static void link_to (rota_store_t *self, uint64_t number, rota_node_t node)
{
    sqlite3_stmt *s = node == ROTA_NONE ? NULL : rota_store_sql (self, SQL_LINK_ENTRY);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, reference (node));
    sqlite3_bind_int64 (s, 2, (int64_t)number);
    rota_store_run (self, s);
}

uint64_t rota_store_add_entry (rota_store_t *self, const rota_entry_t *entry, const rota_node_t *about,
                               size_t about_count, bool *ret_new)
{
    int64_t digest;
    uint64_t number = find (self, entry, &digest);
    *ret_new = !number;
    if (!number) {
        number = insert (self, entry, digest);
    } else {
        sqlite3_stmt *s = rota_store_sql (self, SQL_RENEW_ENTRY);
        if (!s)
            return 0;
        sqlite3_bind_int64 (s, 1, (int64_t)number);
        sqlite3_bind_int64 (s, 2, entry->time_ms);
        rota_store_run (self, s);
    }
    if (!number)
        return 0;
    link_to (self, number, entry->task);
    for (size_t i = 0; i < about_count; i++)
        link_to (self, number, about[i]);
    return self->failed ? 0 : number;
}

/* ------------------------------------------------------------------------------------------ reading */

static void read_row (sqlite3_stmt *s, rota_entry_t *ret_entry)
{
    int64_t task = sqlite3_column_int64 (s, 2);
    const char *author = (const char *)sqlite3_column_text (s, 4);
    *ret_entry = (rota_entry_t){
        .number = (uint64_t)sqlite3_column_int64 (s, 0),
        .type = (Rota__NoteType)sqlite3_column_int (s, 1),
        .task = task > 0 ? (rota_node_t)(task - 1) : ROTA_NONE,
        .attempt = (uint32_t)sqlite3_column_int64 (s, 3),
        .author = author ? author : "",
        .by_hand = sqlite3_column_int (s, 5),
        .time_ms = sqlite3_column_int64 (s, 6),
        .confidence = sqlite3_column_type (s, 7) == SQLITE_NULL ? -1 : sqlite3_column_double (s, 7),
        .topic = (const char *)sqlite3_column_text (s, 8),
        .topic_length = (size_t)sqlite3_column_bytes (s, 8),
        .text = (const char *)sqlite3_column_text (s, 9),
        .text_length = (size_t)sqlite3_column_bytes (s, 9),
    };
    if (!ret_entry->topic)
        ret_entry->topic = "";
    if (!ret_entry->text)
        ret_entry->text = "";
}

static void say_unreadable (rota_store_t *self)
{
    rota_log_limited (ROTA_LOG_WARNING, "context.unreadable", "context", LOG_INTERVAL_MS,
                      "text=\"what agents should know can't be read, it is left out: %s\"",
                      sqlite3_errmsg (self->db));
}

/* Ready to be bound; NULL when it can't be prepared, which is no failure of what is being written. */
static sqlite3_stmt *reader (rota_store_t *self, sql_t which)
{
    if (!self->statements[which] &&
        sqlite3_prepare_v3 (self->db, rota_store_text (which), -1, SQLITE_PREPARE_PERSISTENT,
                            &self->statements[which], NULL) != SQLITE_OK)
        say_unreadable (self);
    return self->statements[which];
}

/* What can't be read is not told, and the batch that is open meanwhile is written all the same: it fails only
 * where SQLite ended its transaction for it (disk, memory). */
static void give (rota_store_t *self, sqlite3_stmt *s, rota_entry_fn *each, void *owner)
{
    int code;
    while ((code = sqlite3_step (s)) == SQLITE_ROW) {
        rota_entry_t entry;
        read_row (s, &entry);
        each (owner, &entry);
    }
    if (code != SQLITE_DONE)
        say_unreadable (self);
    sqlite3_reset (s);
    sqlite3_clear_bindings (s);
    if (code != SQLITE_DONE && self->in_transaction && sqlite3_get_autocommit (self->db))
        rota_store_fail (self, code);
}

void rota_store_entries (rota_store_t *self, int64_t before, size_t limit, rota_entry_fn *each, void *owner)
{
    sqlite3_stmt *s = reader (self, SQL_ENTRIES_BEFORE);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, before);
    sqlite3_bind_int64 (s, 2, (int64_t)limit);
    give (self, s, each, owner);
}

static void entries_of (rota_store_t *self, sql_t which, int64_t what, int64_t before, size_t limit,
                        rota_entry_fn *each, void *owner)
{
    sqlite3_stmt *s = reader (self, which);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, what);
    sqlite3_bind_int64 (s, 2, before);
    sqlite3_bind_int64 (s, 3, (int64_t)limit);
    give (self, s, each, owner);
}

void rota_store_entries_of_node (rota_store_t *self, rota_node_t node, int64_t before, size_t limit,
                                 rota_entry_fn *each, void *owner)
{
    entries_of (self, SQL_ENTRIES_OF_NODE, reference (node), before, limit, each, owner);
}

void rota_store_entries_of_type (rota_store_t *self, Rota__NoteType type, int64_t before, size_t limit,
                                 rota_entry_fn *each, void *owner)
{
    entries_of (self, SQL_ENTRIES_OF_TYPE, type, before, limit, each, owner);
}

static bool is_apart (char c)
{
    return (unsigned char)c < 0x80 && !isalnum ((unsigned char)c);
}

/* "snake_case words" as "snake" AND "case" AND "words": the index knows no places of words, so that words in
 * one pair of quotes are an error; and quoted nothing is taken for an operator. False: there is none. */
static bool quote (const char *words, char ret_quoted[QUOTED_BYTES])
{
    size_t used = 0;
    for (const char *at = words; *at;) {
        size_t length = 0;
        while (*at && is_apart (*at))
            at++;
        while (at[length] && !is_apart (at[length]))
            length++;
        if (length && used + length + sizeof " AND \"\"" > QUOTED_BYTES)
            return false;
        if (length)
            used += (size_t)snprintf (ret_quoted + used, QUOTED_BYTES - used, "%s\"%.*s\"",
                                      used ? " AND " : "", (int)length, at);
        at += length;
    }
    return used > 0;
}

void rota_store_entries_with_words (rota_store_t *self, const char *words, int64_t before, size_t limit,
                                    rota_entry_fn *each, void *owner)
{
    char quoted[QUOTED_BYTES];
    sqlite3_stmt *s = reader (self, SQL_ENTRIES_WITH_WORD);
    if (!s || !quote (words, quoted))
        return;
    sqlite3_bind_text (s, 1, quoted, -1, SQLITE_STATIC);
    sqlite3_bind_int64 (s, 2, before);
    sqlite3_bind_int64 (s, 3, (int64_t)limit);
    /* What the index takes for several words where no blank is (other scripts' marks) is not found. */
    give (self, s, each, owner);
}

size_t rota_store_entry_about (rota_store_t *self, uint64_t number, rota_node_t *ret_nodes, size_t capacity)
{
    sqlite3_stmt *s = reader (self, SQL_LINKS_OF_ENTRY);
    size_t count = 0;
    if (!s)
        return 0;
    sqlite3_bind_int64 (s, 1, (int64_t)number);
    while (count < capacity && sqlite3_step (s) == SQLITE_ROW)
        ret_nodes[count++] = (rota_node_t)(sqlite3_column_int64 (s, 0) - 1);
    sqlite3_reset (s);
    return count;
}

/* ----------------------------------------------------------------------------------------- removing */

static void run_with_number (rota_store_t *self, sql_t which, uint64_t number)
{
    sqlite3_stmt *s = rota_store_sql (self, which);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, (int64_t)number);
    rota_store_run (self, s);
}

/* The index of words must be told the very words that it was given. */
bool rota_store_remove_entry (rota_store_t *self, uint64_t number)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_GET_ENTRY);
    if (!s)
        return false;
    sqlite3_bind_int64 (s, 1, (int64_t)number);
    bool there = sqlite3_step (s) == SQLITE_ROW;
    if (there) {
        rota_entry_t entry;
        read_row (s, &entry);
        change_words (self, SQL_DROP_ENTRY_WORDS, number, &entry);
    }
    sqlite3_reset (s);
    if (!there)
        return false;
    run_with_number (self, SQL_UNLINK_ENTRY, number);
    run_with_number (self, SQL_DROP_ENTRY, number);
    return true;
}

static size_t collect (rota_store_t *self, int hand_below, int64_t before_ms, size_t limit,
                       uint64_t *ret_numbers)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_OLDEST_ENTRIES);
    size_t count = 0;
    if (!s)
        return 0;
    sqlite3_bind_int64 (s, 1, hand_below);
    sqlite3_bind_int64 (s, 2, before_ms);
    sqlite3_bind_int64 (s, 3, (int64_t)limit);
    while (count < limit && sqlite3_step (s) == SQLITE_ROW)
        ret_numbers[count++] = (uint64_t)sqlite3_column_int64 (s, 0);
    sqlite3_reset (s);
    return count;
}

static uint64_t count_all (rota_store_t *self)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_COUNT_ENTRIES);
    uint64_t count = s && sqlite3_step (s) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64 (s, 0) : 0;
    if (s)
        sqlite3_reset (s);
    return count;
}

size_t rota_store_trim_entries (rota_store_t *self, int64_t before_ms, uint64_t cap, size_t limit)
{
    uint64_t *numbers = malloc ((limit + 1) * sizeof *numbers), all = count_all (self);
    size_t count = 0;
    if (!numbers)
        return 0;
    if (all > cap)
        count = collect (self, 2, INT64_MAX, all - cap < limit ? (size_t)(all - cap) : limit, numbers);
    else
        count = collect (self, 1, before_ms, limit, numbers);
    for (size_t i = 0; i < count; i++)
        rota_store_remove_entry (self, numbers[i]);
    free (numbers);
    return count;
}
