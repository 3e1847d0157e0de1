/* store_context.h - the entries of the context in the store: what agents and people wrote down.
 *
 * An entry is there once: the same words of the same type again only make it newer and link it to more tasks.
 * What is looked for comes newest first, by a task or group, by type or by a word, each by an index: the
 * number of entries doesn't matter. Owner: as store.h.
 */
#ifndef ROTA_STORE_CONTEXT_H
#define ROTA_STORE_CONTEXT_H

#include "scheduler/store.h"

#define ROTA_NOTE_TOPIC_MAX_BYTES 200
#define ROTA_NOTE_TEXT_MAX_BYTES 2000
#define ROTA_NOTE_TASKS_MAX 20

typedef struct {
    uint64_t number;
    Rota__NoteType type;
    rota_node_t task; /* where it was written, or ROTA_NONE */
    uint32_t attempt;
    const char *author;
    bool by_hand;
    int64_t time_ms;   /* Unix */
    double confidence; /* negative = not said */
    const char *topic, *text;
    size_t topic_length, text_length;
} rota_entry_t;

/* In a transaction. The entry's number, 0 when that failed; *ret_new: it wasn't there. */
uint64_t rota_store_add_entry (rota_store_t *self, const rota_entry_t *entry, const rota_node_t *about,
                               size_t about_count, bool *ret_new);
/* False: there is none. */
bool rota_store_remove_entry (rota_store_t *self, uint64_t number);

/* At most `limit` entries with a number below `before`, newest first; `each` has them for its call. */
typedef void rota_entry_fn (void *owner, const rota_entry_t *entry);
#define ROTA_ENTRY_ANY INT64_MAX
void rota_store_entries (rota_store_t *self, int64_t before, size_t limit, rota_entry_fn *each, void *owner);
void rota_store_entries_of_node (rota_store_t *self, rota_node_t node, int64_t before, size_t limit,
                                 rota_entry_fn *each, void *owner);
void rota_store_entries_of_type (rota_store_t *self, Rota__NoteType type, int64_t before, size_t limit,
                                 rota_entry_fn *each, void *owner);
/* Those with all of the words, whatever stands between them. */
void rota_store_entries_with_words (rota_store_t *self, const char *words, int64_t before, size_t limit,
                                    rota_entry_fn *each, void *owner);
/* What it is about, at most `capacity`. */
size_t rota_store_entry_about (rota_store_t *self, uint64_t number, rota_node_t *ret_nodes, size_t capacity);

/* In a transaction: at most `limit` of those that agents wrote before `before_ms`, and of the oldest of all
 * where there are more than `cap`. How many went. */
size_t rota_store_trim_entries (rota_store_t *self, int64_t before_ms, uint64_t cap, size_t limit);

#endif
