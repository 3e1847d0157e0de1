/* The context between store and the rest: notes that reports bring, what people add, remove and look at, and
 * what goes out with an assignment. */
#include "scheduler/service_internal.h"

#include "bus/clock.h"
#include "bus/names.h"
#include "scheduler/context.h"

#define NOTES_MAX 100
#define LIST_MAX 1000
#define LIST_DEFAULT 100

/* ----------------------------------------------------------------------------------------- writing */

static const char *wrong_in (const Rota__Note *note)
{
    bool known = note->type >= NOTE (DECISION) && note->type <= NOTE (ANSWER);
    if (!known)
        return "its type is not one of ours";
    if (!note->text.len || note->text.len > ROTA_NOTE_TEXT_MAX_BYTES ||
        !rota_text_is_valid ((const char *)note->text.data, note->text.len, true))
        return "its text must be 1 to 2000 bytes of valid UTF-8";
    if (note->topic.len >
            (note->type == NOTE (ANSWER) ? ROTA_NOTE_TEXT_MAX_BYTES : ROTA_NOTE_TOPIC_MAX_BYTES) ||
        !rota_text_is_valid ((const char *)note->topic.data, note->topic.len, note->type == NOTE (ANSWER)))
        return "its topic must be one line of at most 200 bytes";
    if (note->has_confidence && !(note->confidence >= 0 && note->confidence <= 1))
        return "its confidence must be 0 to 1";
    if (note->n_tasks > ROTA_NOTE_TASKS_MAX)
        return "it is about more than 20 tasks";
    return NULL;
}

static rota_node_t find_any (const service_t *self, ProtobufCBinaryData id)
{
    rota_node_t node = rota_core_find (self->core, (const char *)id.data, id.len);
    if (node == ROTA_NONE &&
        rota_core_find_milestones (self->core, (const char *)id.data, id.len, &node) != 1)
        return ROTA_NONE;
    return rota_core_is_staged (self->core, node) ? ROTA_NONE : node;
}

/* Into the transaction of the batch, which the answer to this message makes sure of. The number, or 0. */
static uint64_t keep (service_t *self, rota_node_t task, uint32_t attempt, const char *author, bool by_hand,
                      const Rota__Note *note)
{
    rota_error_t error;
    bool is_new;
    rota_node_t about[ROTA_NOTE_TASKS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < note->n_tasks && i < ROTA_NOTE_TASKS_MAX; i++) {
        about[count] = find_any (self, note->tasks[i]);
        count += about[count] != ROTA_NONE;
    }
    const rota_entry_t entry = {
        .type = note->type,
        .task = task,
        .attempt = attempt,
        .author = author,
        .by_hand = by_hand,
        .time_ms = rota_clock_wall_ms (),
        .confidence = note->has_confidence ? note->confidence : -1,
        .topic = note->topic.len ? (const char *)note->topic.data : "",
        .topic_length = note->topic.len,
        .text = (const char *)note->text.data,
        .text_length = note->text.len,
    };
    if (rota_store_begin (self->store, &error) < 0)
        return 0; /* the commit of the batch will say so */
    return rota_store_add_entry (self->store, &entry, about, count, &is_new);
}

void rota_service_take_notes (service_t *self, rota_agent_t agent, const Rota__AttemptReport *report)
{
    const char *author = rota_service_agent_name (self, agent);
    const Rota__Result *result = report->result;
    for (size_t i = 0; i < result->n_notes && i < NOTES_MAX; i++)
        if (!wrong_in (result->notes[i]) && result->notes[i]->type != NOTE (ANSWER))
            keep (self, (rota_node_t)(report->key - 1), report->attempt, author ? author : "", false,
                  result->notes[i]);
}

void rota_service_keep_answer (service_t *self, rota_node_t node, const char *question,
                               ProtobufCBinaryData answer)
{
    rota_core_node_t it;
    Rota__Note note = ROTA__NOTE__INIT;
    if (!rota_core_get (self->core, node, &it) || !answer.len)
        return;
    note.has_type = note.has_topic = note.has_text = true;
    note.type = NOTE (ANSWER);
    note.topic = rota_bytes (question ? question : "");
    if (note.topic.len > ROTA_NOTE_TEXT_MAX_BYTES)
        note.topic.len = ROTA_NOTE_TEXT_MAX_BYTES;
    note.text = answer;
    keep (self, node, it.attempt, "", true, &note);
}

HANDLER (context_add)
{
    const Rota__ContextAdd *it = (const Rota__ContextAdd *)message;
    const char *wrong = it->note ? wrong_in (it->note) : "it has no note";
    rota_node_t task = ROTA_NONE;
    if (!wrong && it->note->type > NOTE (LEARNING))
        wrong = "only decisions, constraints and learnings can be added";
    if (wrong) {
        rota_service_refuse (self, from, ERROR_CODE (INVALID), "%s", wrong);
        return;
    }
    for (size_t i = 0; i < it->note->n_tasks; i++)
        if (find_any (self, it->note->tasks[i]) == ROTA_NONE) {
            rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND),
                                 "there is no task or group %.*s (or several)", (int)it->note->tasks[i].len,
                                 (const char *)it->note->tasks[i].data);
            return;
        }
    Rota__ContextChanged reply = ROTA__CONTEXT_CHANGED__INIT;
    if (it->note->n_tasks == 1)
        task = find_any (self, it->note->tasks[0]);
    reply.has_number = reply.has_changed = true;
    reply.number = keep (self, task, 0, "", true, it->note);
    reply.changed = 1;
    rota_service_answer (self, from, ROTA_MESSAGE_CONTEXT_CHANGED, &reply.base);
}

HANDLER (context_remove)
{
    const Rota__ContextRemove *it = (const Rota__ContextRemove *)message;
    Rota__ContextChanged reply = ROTA__CONTEXT_CHANGED__INIT;
    rota_error_t error;
    if (it->n_numbers == 0 || it->n_numbers > LIST_MAX) {
        rota_service_refuse (self, from, ERROR_CODE (INVALID), "it names no entry, or more than 1000");
        return;
    }
    reply.has_changed = true;
    if (rota_store_begin (self->store, &error) == 0)
        for (size_t i = 0; i < it->n_numbers; i++)
            reply.changed += rota_store_remove_entry (self->store, it->numbers[i]);
    if (!reply.changed)
        rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND),
                             "there is no entry %llu: see `rota context list`",
                             (unsigned long long)it->numbers[0]);
    else
        rota_service_answer (self, from, ROTA_MESSAGE_CONTEXT_CHANGED, &reply.base);
}

/* ----------------------------------------------------------------------------------------- looking */

typedef struct {
    service_t *service;
    Rota__NoteType type; /* 0 = any */
    size_t most, count;
    bool more;
    Rota__ContextEntry *items, **list;
} listing_t;

static ProtobufCBinaryData copy (service_t *self, const char *text, size_t length)
{
    uint8_t *made = rota_arena_alloc (self->arena, length + 1);
    if (!made)
        return (ProtobufCBinaryData){0};
    memcpy (made, text, length);
    return rota_bytes_n (made, length);
}

static ProtobufCBinaryData id_of (service_t *self, rota_node_t node)
{
    rota_core_node_t it;
    return rota_core_get (self->core, node, &it) ? rota_bytes_n (it.id, it.id_length)
                                                 : (ProtobufCBinaryData){0};
}

static void list_entry (void *owner, const rota_entry_t *entry)
{
    listing_t *self = owner;
    if (self->type && entry->type != self->type)
        return;
    if (self->count == self->most) {
        self->more = true;
        return;
    }
    Rota__Note *note = rota_arena_alloc (self->service->arena, sizeof *note);
    if (!note)
        return;
    Rota__ContextEntry *item = self->list[self->count] = &self->items[self->count];
    rota__note__init (note);
    rota__context_entry__init (item);
    item->has_number = item->has_time_ms = item->has_by_hand = item->has_author = true;
    item->number = entry->number;
    item->time_ms = entry->time_ms;
    item->by_hand = entry->by_hand;
    item->author = copy (self->service, entry->author, strlen (entry->author));
    item->task = id_of (self->service, entry->task);
    item->has_task = item->task.len > 0;
    item->has_attempt = entry->attempt > 0;
    item->attempt = entry->attempt;
    item->note = note;
    note->has_type = note->has_topic = note->has_text = true;
    note->type = entry->type;
    note->topic = copy (self->service, entry->topic, entry->topic_length);
    note->text = copy (self->service, entry->text, entry->text_length);
    note->has_confidence = entry->confidence >= 0;
    note->confidence = entry->confidence;
    self->count++;
}

/* After the list, so that no statement runs within another. */
static void fill_about (listing_t *self)
{
    rota_node_t nodes[ROTA_NOTE_TASKS_MAX + 1];
    for (size_t i = 0; i < self->count; i++) {
        size_t count = rota_store_entry_about (self->service->store, self->items[i].number, nodes,
                                               sizeof nodes / sizeof *nodes);
        Rota__Note *note = self->items[i].note;
        note->tasks = rota_arena_alloc (self->service->arena, (count + 1) * sizeof *note->tasks);
        for (size_t n = 0; note->tasks && n < count; n++)
            note->tasks[note->n_tasks++] = id_of (self->service, nodes[n]);
    }
}

static bool is_word (ProtobufCBinaryData word)
{
    for (size_t i = 0; i < word.len; i++)
        if (word.data[i] < 0x20 || word.data[i] == '"')
            return false;
    return word.len > 0 && word.len < 100;
}

HANDLER (context_query)
{
    const Rota__ContextQuery *query = (const Rota__ContextQuery *)message;
    size_t most = query->has_limit && query->limit && query->limit < LIST_MAX ? query->limit : LIST_DEFAULT;
    int64_t before = query->has_before && query->before < INT64_MAX ? (int64_t)query->before : ROTA_ENTRY_ANY;
    listing_t listing = {.service = self, .type = query->type, .most = most};
    Rota__ContextEntries reply = ROTA__CONTEXT_ENTRIES__INIT;
    char word[128];
    rota_node_t node = query->task.len ? find_any (self, query->task) : ROTA_NONE;
    if (query->task.len && node == ROTA_NONE) {
        rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND),
                             "there is no task or group %.*s (or several)", (int)query->task.len,
                             (const char *)query->task.data);
        return;
    }
    if (query->words.len && !is_word (query->words)) {
        rota_service_refuse (self, from, ERROR_CODE (INVALID), "what is looked for must be a word or a few");
        return;
    }
    listing.items = rota_arena_alloc (self->arena, (most + 1) * sizeof *listing.items);
    listing.list = rota_arena_alloc (self->arena, (most + 1) * sizeof (Rota__ContextEntry *));
    if (!listing.items || !listing.list)
        return;
    size_t looked_at = query->type && (query->words.len || node != ROTA_NONE) ? 10 * most : most + 1;
    snprintf (word, sizeof word, "%.*s", (int)query->words.len, (const char *)query->words.data);
    if (node != ROTA_NONE)
        rota_store_entries_of_node (self->store, node, before, looked_at, list_entry, &listing);
    else if (query->words.len)
        rota_store_entries_with_words (self->store, word, before, looked_at, list_entry, &listing);
    else if (query->type)
        rota_store_entries_of_type (self->store, query->type, before, looked_at, list_entry, &listing);
    else
        rota_store_entries (self->store, before, looked_at, list_entry, &listing);
    fill_about (&listing);
    reply.n_entries = listing.count;
    reply.entries = listing.list;
    reply.has_more = true;
    reply.more = listing.more;
    rota_service_answer (self, from, ROTA_MESSAGE_CONTEXT_ENTRIES, &reply.base);
}

/* ------------------------------------------------------------------------------ what is sent along */

static Rota__TaskSpec *spec_of (service_t *self, rota_node_t node)
{
    rota_definition_t definition;
    uint8_t *bytes;
    size_t size;
    if (rota_store_definition (self->store, node, &definition) < 0 ||
        rota_define_unpack (self->core, node, &definition, &bytes, &size) < 0)
        return NULL;
    Rota__TaskSpec *spec = rota__task_spec__unpack (rota_arena_allocator (self->arena), size, bytes);
    free (bytes);
    return spec;
}

static rota_gathering_t gathering (service_t *self, rota_agent_t agent)
{
    return (rota_gathering_t){.store = self->store,
                              .core = self->core,
                              .settings = self->config.settings,
                              .arena = self->arena,
                              .agent = agent,
                              .wall_ms = rota_clock_wall_ms (),
                              .now_ms = rota_service_now_ms (self)};
}

bool rota_service_wants_context (service_t *self, const rota_core_node_t *node, Rota__Phase phase)
{
    rota_core_class_view_t class;
    if (phase != PHASE (WORK) && phase != PHASE (REVIEW))
        return false;
    rota_core_class_view (self->core, node->class_index, &class);
    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = class.capabilities >> bit & 1 ? rota_core_capability_name (self->core, bit) : NULL;
        if (name && (strcmp (name, "prompt") == 0 || strcmp (name, "text") == 0))
            return true;
    }
    return false;
}

ProtobufCBinaryData rota_service_context_of (service_t *self, const rota_core_assign_t *assign,
                                             ProtobufCBinaryData packed_spec)
{
    const rota_gathering_t with = gathering (self, assign->agent);
    Rota__Context context;
    Rota__TaskSpec *spec =
        rota__task_spec__unpack (rota_arena_allocator (self->arena), packed_spec.len, packed_spec.data);
    if (!spec)
        return (ProtobufCBinaryData){0};
    rota_context_gather (&with, assign->node, assign->phase, spec, &context);
    self->figures.contexts[assign->again]++;
    size_t size = rota__context__get_packed_size (&context);
    uint8_t *bytes = context.n_parts ? rota_arena_alloc (self->arena, size + 1) : NULL;
    if (!bytes)
        return (ProtobufCBinaryData){0};
    rota__context__pack (&context, bytes);
    return rota_bytes_n (bytes, size);
}

HANDLER (context_show)
{
    const Rota__ContextShow *query = (const Rota__ContextShow *)message;
    rota_node_t node = rota_core_find (self->core, (const char *)query->task.data, query->task.len);
    rota_core_node_t it;
    if (!rota_core_get (self->core, node, &it) || it.kind != NODE (TASK) ||
        rota_core_is_staged (self->core, node)) {
        rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND), "there is no task %.*s",
                             (int)query->task.len, (const char *)query->task.data);
        return;
    }
    const rota_gathering_t with = gathering (self, ROTA_NONE);
    Rota__ContextShown reply = ROTA__CONTEXT_SHOWN__INIT;
    Rota__Context context;
    Rota__Repository repository = ROTA__REPOSITORY__INIT;
    reply.spec = spec_of (self, node);
    if (!reply.spec) {
        rota_service_refuse (self, from, ERROR_CODE (RETRY_LATER), "its definition can't be read now");
        return;
    }
    rota_context_gather (&with, node, PHASE (WORK), reply.spec, &context);
    reply.context = &context;
    reply.has_phase = true;
    reply.phase = PHASE (WORK);
    if ((it.wants & ROTA_WANTS_CLONE) && rota_service_locate_repository (self, &it, &repository))
        reply.repository = &repository;
    rota_service_answer (self, from, ROTA_MESSAGE_CONTEXT_SHOWN, &reply.base);
}
