#include "scheduler/context.h"

#include "bus/clock.h"
#include "bus/terms.h"
#include "proto/words.h"
#include "scheduler/budget.h"
#include "scheduler/health.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_MAX 200
#define PART_MAX_BYTES 2500
#define ENTRY_TEXT_BYTES 1000
#define TERMS_MAX 24
#define TERMS_SEARCHED 8
#define RELATED_MAX 64
#define SIBLINGS_MAX 3
#define SIBLINGS_LOOKED_AT 8
#define ATTEMPTS_LOOKED_AT 20
#define OF_NODE 40 /* entries looked at: of each node around the task, */
#define OF_TYPE 60 /* of each type, */
#define OF_TERM 20 /* with each word */
#define CANDIDATES_MAX 1024
#define DAY_MS ((int64_t)86400000)

/* Tenths of the points of the original's rules. */
enum { OWN = 200, PREREQUISITE = 150, PARENT = 150, EPIC = 100, SIBLING = 50 };
enum { FRESH = 100, A_DAY = 10, A_TERM = 20, TERMS_COUNTED = 5, SURE = 100, BY_HAND = 50 };

typedef struct {
    rota_node_t node;
    int weight;
    bool blocks; /* a dependency of the task or of one of its groups */
} related_t;

typedef struct {
    rota_entry_t entry;
    int weight, score;
    size_t order;
} candidate_t;

typedef struct {
    const rota_gathering_t *with;
    rota_node_t node;
    rota_core_node_t it;
    const Rota__TaskSpec *spec;
    Rota__Context *context;
    Rota__ContextPart items[PARTS_MAX], *list[PARTS_MAX];
    rota_term_t terms[TERMS_MAX];
    size_t term_count;
    related_t related[RELATED_MAX];
    size_t related_count;
    candidate_t *candidates;
    size_t candidate_count;
    int weight; /* of the node whose entries are being read */
} gather_t;

/* ---- parts */

static void put (gather_t *self, const char *kind, int score, int64_t time_ms, const char *text,
                 size_t length)
{
    Rota__Context *context = self->context;
    uint8_t *copy =
        context->n_parts < PARTS_MAX && length ? rota_arena_alloc (self->with->arena, length) : NULL;
    if (!copy)
        return;
    memcpy (copy, text, length);
    Rota__ContextPart *part = self->list[context->n_parts] = &self->items[context->n_parts];
    rota__context_part__init (part);
    part->has_kind = part->has_text = part->has_score = true;
    part->kind = rota_bytes (kind);
    part->text = rota_bytes_n (copy, length);
    part->score = score;
    part->has_time_ms = time_ms > 0;
    part->time_ms = time_ms;
    context->n_parts++;
}

__attribute__ ((format (printf, 5, 6))) static void say (gather_t *self, const char *kind, int score,
                                                         int64_t time_ms, const char *format, ...)
{
    char text[PART_MAX_BYTES];
    va_list args;
    va_start (args, format);
    int length = vsnprintf (text, sizeof text, format, args);
    va_end (args);
    if (length > 0)
        put (self, kind, score, time_ms, text,
             (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

static int shown (ProtobufCBinaryData text, size_t most)
{
    return (int)(text.len < most ? text.len : most);
}

static long long setting (const gather_t *self, rota_setting_t which)
{
    return rota_setting_integer (self->with->settings, which);
}

/* ---- what is around the task */

static void relate (gather_t *self, rota_node_t node, int weight, bool blocks)
{
    for (size_t i = 0; i < self->related_count; i++)
        if (self->related[i].node == node)
            return;
    if (node != ROTA_NONE && self->related_count < RELATED_MAX)
        self->related[self->related_count++] = (related_t){node, weight, blocks};
}

static void relate_dependency (void *owner, rota_node_t prerequisite, Rota__DependencyType type)
{
    relate (owner, prerequisite, type == DEPENDENCY (BLOCKS) ? PREREQUISITE : EPIC, true);
}

/* Those that stand beside it in the roadmap. */
static void relate_siblings (gather_t *self)
{
    rota_core_node_t other;
    int found = 0;
    for (int64_t step = 1; step <= SIBLINGS_LOOKED_AT && self->it.parent != ROTA_NONE; step++)
        for (int64_t sign = -1; sign <= 1; sign += 2) {
            int64_t at = (int64_t)self->node + sign * step;
            if (found < SIBLINGS_MAX && at >= 0 && at < (int64_t)rota_core_count (self->with->core) &&
                rota_core_get (self->with->core, (rota_node_t)at, &other) &&
                other.parent == self->it.parent && other.kind == NODE (TASK)) {
                relate (self, (rota_node_t)at, SIBLING, false);
                found++;
            }
        }
}

static void find_related (gather_t *self)
{
    rota_core_node_t group;
    relate (self, self->node, OWN, false);
    rota_store_dependencies (self->with->store, self->node, relate_dependency, self);
    int weight = PARENT;
    for (rota_node_t at = self->it.parent; at != ROTA_NONE && rota_core_get (self->with->core, at, &group);
         at = group.parent) {
        relate (self, at, weight, false);
        rota_store_dependencies (self->with->store, at, relate_dependency, self);
        weight = EPIC;
    }
    relate_siblings (self);
}

static void find_terms (gather_t *self)
{
    const ProtobufCBinaryData texts[] = {self->spec->title, self->spec->id, self->spec->description,
                                         self->spec->prompt};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].len)
            self->term_count = rota_terms_add (self->terms, self->term_count, TERMS_MAX,
                                               (const char *)texts[i].data, texts[i].len);
    rota_terms_sort (self->terms, self->term_count);
}

/* ---- a person's answer */

static void take_answer (void *owner, const rota_entry_t *entry)
{
    gather_t *self = owner;
    if (entry->type == NOTE (ANSWER) && entry->task == self->node)
        say (self, "answer", entry->number < INT32_MAX ? (int)entry->number : INT32_MAX, entry->time_ms,
             "You asked: %.*s\nThe answer: %.*s",
             (int)(entry->topic_length < 800 ? entry->topic_length : 800), entry->topic,
             (int)(entry->text_length < 1600 ? entry->text_length : 1600), entry->text);
}

static void gather_answers (gather_t *self)
{
    rota_store_entries_of_node (self->with->store, self->node, ROTA_ENTRY_ANY, OF_NODE, take_answer, self);
}

/* ---- what the last attempt met */

static void put_gates (gather_t *self, const Rota__Result *result)
{
    for (size_t i = 0; i < result->n_gates; i++) {
        const Rota__GateResult *gate = result->gates[i];
        if (gate->state != ROTA__GATE_STATE__GATE_STATE_FAILED &&
            gate->state != ROTA__GATE_STATE__GATE_STATE_TIMED_OUT)
            continue;
        say (self, "gate", 100 - (int)(i < 100 ? i : 100), 0, "%.*s %s%s%.*s", shown (gate->name, 200),
             (const char *)gate->name.data,
             gate->state == ROTA__GATE_STATE__GATE_STATE_FAILED ? "fails" : "took too long",
             gate->output.len ? ":\n" : "", shown (gate->output, 2048), (const char *)gate->output.data);
    }
}

static void put_review (gather_t *self, const Rota__Verdict *verdict)
{
    static const char *const SEVERITIES[] = {"note", "minor", "major", "blocker"};
    if (verdict->approved)
        return;
    if (verdict->summary.len)
        say (self, "review", 1000, 0, "%.*s", shown (verdict->summary, 1000),
             (const char *)verdict->summary.data);
    for (size_t i = 0; i < verdict->n_comments && i < 50; i++) {
        const Rota__ReviewComment *it = verdict->comments[i];
        int severity = 0;
        for (int s = 0; s < 4; s++)
            if (it->severity.len == strlen (SEVERITIES[s]) &&
                memcmp (it->severity.data, SEVERITIES[s], it->severity.len) == 0)
                severity = s;
        char line[16] = "";
        if (it->line)
            snprintf (line, sizeof line, ":%u", it->line);
        say (self, "review", 100 * severity + 50 - (int)i, 0, "%s: %.*s%s%s%.*s", SEVERITIES[severity],
             shown (it->file, 300), (const char *)it->file.data, line, it->file.len ? ": " : "",
             shown (it->text, 1000), (const char *)it->text.data);
    }
}

typedef struct {
    gather_t *self;
    bool ended;         /* the last attempt at the work, and what came after it, have been looked at */
    const char *reason; /* why it went back; NULL: a result among those looked at says so itself */
} looking_t;

static bool says (ProtobufCBinaryData text, const char *reason)
{
    return text.len && memmem (text.data, text.len, reason, strlen (reason));
}

/* Newest first. Only what the work that is to be gone on with met: older issues are no more. */
static void take_attempt (void *owner, const rota_stored_attempt_t *attempt)
{
    looking_t *looking = owner;
    gather_t *self = looking->self;
    if (looking->ended)
        return;
    looking->ended = attempt->phase == PHASE (WORK);
    Rota__Result *result = rota__result__unpack (rota_arena_allocator (self->with->arena),
                                                 attempt->result_size, attempt->result);
    if (!result)
        return;
    if (looking->reason && (says (result->message, looking->reason) ||
                            (result->verdict && says (result->verdict->summary, looking->reason))))
        looking->reason = NULL;
    put_gates (self, result);
    if (result->verdict)
        put_review (self, result->verdict);
    bool failed = attempt->result_class == RESULT (FAILED) || attempt->result_class == RESULT (INVALID) ||
                  attempt->result_class == RESULT (TIMEOUT) ||
                  attempt->result_class == RESULT (CONTEXT_LIMIT);
    if (failed && result->message.len)
        say (self, "failure", (int)attempt->number, 0, "attempt %u (%s): %.*s%s%.*s", attempt->number,
             rota_phase_name (attempt->phase), shown (result->message, 1000),
             (const char *)result->message.data, result->last_output.len ? "\nIts last output:\n" : "",
             shown (result->last_output, 1200), (const char *)result->last_output.data);
}

static void gather_last_attempt (gather_t *self)
{
    bool back =
        self->it.status == STATUS (NEEDS_IMPROVEMENT) || self->it.came_from == STATUS (NEEDS_IMPROVEMENT);
    looking_t looking = {.self = self,
                         .reason = back ? rota_core_reason (self->with->core, self->node) : NULL};
    rota_store_attempts (self->with->store, self->node, ATTEMPTS_LOOKED_AT, take_attempt, &looking);
    /* What a person said, or a rule of quality. */
    if (looking.reason && *looking.reason)
        say (self, "failure", 1000, 0, "it was sent back: %.1000s", looking.reason);
}

/* ---- dependencies */

typedef struct {
    gather_t *self;
    bool found;
    const Rota__Result *result;
} delivered_t;

static void find_delivered (void *owner, const rota_stored_attempt_t *attempt)
{
    delivered_t *delivered = owner;
    if (delivered->found || attempt->phase != PHASE (WORK) || attempt->result_class != RESULT (OK))
        return;
    delivered->found = true;
    delivered->result = rota__result__unpack (rota_arena_allocator (delivered->self->with->arena),
                                              attempt->result_size, attempt->result);
}

static void put_dependency (gather_t *self, rota_node_t node, size_t order)
{
    rota_core_node_t it;
    rota_definition_t definition;
    delivered_t delivered = {.self = self};
    char title[256] = "", work[160] = "";
    const char *answer = "";
    int answer_length = 0;
    if (!rota_core_get (self->with->core, node, &it))
        return;
    if (rota_store_definition (self->with->store, node, &definition) == 0 && definition.title_length)
        snprintf (title, sizeof title, " (%.*s)",
                  (int)(definition.title_length < 200 ? definition.title_length : 200), definition.title);
    if (it.kind != NODE (TASK) || rota_core_is_satisfied (self->with->core, node)) {
        rota_store_attempts (self->with->store, node, ATTEMPTS_LOOKED_AT, find_delivered, &delivered);
        if (delivered.result && delivered.result->work && delivered.result->work->has_commit)
            snprintf (work, sizeof work, "; it changed %u files (+%u -%u)", delivered.result->work->files,
                      delivered.result->work->insertions, delivered.result->work->deletions);
        if (delivered.result && delivered.result->answer.len) {
            answer = (const char *)delivered.result->answer.data;
            answer_length = shown (delivered.result->answer, 1000);
        }
        say (self, "dependency", 100 - (int)order, 0, "%.*s%s: %s%s%s%.*s", (int)it.id_length, it.id, title,
             it.skipped ? "skipped" : "done", work, answer_length ? "; it says: " : "", answer_length,
             answer);
        return;
    }
    say (self, "waiting", 100 - (int)order, 0, "%.*s%s: %s", (int)it.id_length, it.id, title,
         rota_status_name (it.status));
}

static void gather_dependencies (gather_t *self)
{
    size_t most = (size_t)setting (self, ROTA_SETTING_CONTEXT_DEPENDENCIES), done = 0, waiting = 0;
    for (size_t i = 0; i < self->related_count; i++) {
        if (!self->related[i].blocks)
            continue;
        bool satisfied = rota_core_is_satisfied (self->with->core, self->related[i].node);
        if (satisfied ? done++ < most : waiting++ < 3)
            put_dependency (self, self->related[i].node, i);
    }
}

/* ---- entries */

static bool is_known (const gather_t *self, const rota_entry_t *entry)
{
    for (size_t i = 0; i < self->candidate_count; i++)
        if (self->candidates[i].entry.number == entry->number)
            return true;
    return false;
}

static const char *copy (const gather_t *self, const char *text, size_t *length, size_t most)
{
    if (*length > most)
        *length = most;
    char *made = rota_arena_alloc (self->with->arena, *length + 1);
    if (made)
        memcpy (made, text, *length);
    return made;
}

static void consider (void *owner, const rota_entry_t *entry)
{
    gather_t *self = owner;
    bool counts =
        entry->type == NOTE (DECISION) || entry->type == NOTE (CONSTRAINT) || entry->type == NOTE (LEARNING);
    int64_t window_ms = rota_setting_duration_ms (self->with->settings, ROTA_SETTING_CONTEXT_WINDOW);
    int64_t age_ms = self->with->wall_ms - entry->time_ms;
    bool old = age_ms > window_ms && !self->weight && !entry->by_hand && entry->type != NOTE (CONSTRAINT);
    if (!counts || old || self->candidate_count == CANDIDATES_MAX || is_known (self, entry))
        return;
    candidate_t *it = &self->candidates[self->candidate_count];
    *it = (candidate_t){.entry = *entry, .weight = self->weight, .order = self->candidate_count};
    size_t author_length = strlen (entry->author);
    it->entry.topic = copy (self, entry->topic, &it->entry.topic_length, 200);
    it->entry.text = copy (self, entry->text, &it->entry.text_length, ENTRY_TEXT_BYTES);
    char *author = (char *)copy (self, entry->author, &author_length, 100);
    if (!it->entry.topic || !it->entry.text || !author)
        return;
    author[author_length] = '\0';
    it->entry.author = author;
    int64_t days = age_ms > 0 ? age_ms / DAY_MS : 0;
    size_t terms =
        rota_terms_shared (self->terms, self->term_count, it->entry.topic, it->entry.topic_length) +
        rota_terms_shared (self->terms, self->term_count, it->entry.text, it->entry.text_length);
    it->score = it->weight + (days < FRESH / A_DAY ? FRESH - A_DAY * (int)days : 0) +
                A_TERM * (int)(terms < TERMS_COUNTED ? terms : TERMS_COUNTED) +
                (int)(SURE * (entry->confidence < 0 ? 0.5 : entry->confidence)) +
                (entry->by_hand ? BY_HAND : 0);
    self->candidate_count++;
}

static int compare (const void *a, const void *b)
{
    const candidate_t *one = a, *two = b;
    if (one->score != two->score)
        return one->score < two->score ? 1 : -1;
    return one->entry.number < two->entry.number ? 1 : one->entry.number > two->entry.number ? -1 : 0;
}

static void put_entry (gather_t *self, const char *kind, const candidate_t *it)
{
    char when[ROTA_CLOCK_ISO_BYTES], where[256] = "";
    rota_core_node_t task;
    rota_clock_iso (it->entry.time_ms, when);
    if (it->entry.task != ROTA_NONE && rota_core_get (self->with->core, it->entry.task, &task))
        snprintf (where, sizeof where, ", %.*s", (int)task.id_length, task.id);
    say (self, kind, it->score, it->entry.time_ms, "%.*s%s%.*s [%s%s, %.10s]", (int)it->entry.topic_length,
         it->entry.topic, it->entry.topic_length ? ": " : "", (int)it->entry.text_length, it->entry.text,
         it->entry.by_hand ? "a person" : it->entry.author, where, when);
}

static void put_best (gather_t *self, Rota__NoteType type, const char *kind, long long most)
{
    for (size_t i = 0; i < self->candidate_count && most > 0; i++)
        if (self->candidates[i].entry.type == type) {
            put_entry (self, kind, &self->candidates[i]);
            most--;
        }
}

static void gather_entries (gather_t *self)
{
    static const Rota__NoteType TYPES[] = {NOTE (CONSTRAINT), NOTE (DECISION), NOTE (LEARNING)};
    rota_store_t *store = self->with->store;
    self->candidates = rota_arena_alloc (self->with->arena, CANDIDATES_MAX * sizeof *self->candidates);
    if (!self->candidates)
        return;
    for (size_t i = 0; i < self->related_count; i++) {
        self->weight = self->related[i].weight;
        rota_store_entries_of_node (store, self->related[i].node, ROTA_ENTRY_ANY, OF_NODE, consider, self);
    }
    self->weight = 0;
    for (size_t i = 0; i < self->term_count && i < TERMS_SEARCHED; i++)
        rota_store_entries_with_words (store, self->terms[i], ROTA_ENTRY_ANY, OF_TERM, consider, self);
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
        rota_store_entries_of_type (store, TYPES[i], ROTA_ENTRY_ANY, OF_TYPE, consider, self);
    qsort (self->candidates, self->candidate_count, sizeof *self->candidates, compare);
    put_best (self, NOTE (CONSTRAINT), "constraint", setting (self, ROTA_SETTING_CONTEXT_CONSTRAINTS));
    put_best (self, NOTE (DECISION), "decision", setting (self, ROTA_SETTING_CONTEXT_DECISIONS));
    put_best (self, NOTE (LEARNING), "learning", setting (self, ROTA_SETTING_CONTEXT_LEARNINGS));
}

/* ---- the whole */

static void gather_project (gather_t *self)
{
    rota_core_counts_t counts;
    rota_core_health_t health;
    rota_core_mode_t mode;
    char rate[64] = "", quality[64] = "";
    unsigned long long under_way;
    rota_core_counts (self->with->core, self->it.source, self->with->now_ms, &counts);
    rota_core_health (self->with->core, ROTA_NONE, self->with->now_ms, &health);
    rota_core_mode (self->with->core, &mode);
    if (counts.total <= 1)
        return;
    under_way = counts.status[STATUS (IN_PROGRESS)] + counts.status[STATUS (IN_REVIEW)];
    if (health.throughput > 0)
        snprintf (rate, sizeof rate, "; of late %.1f tasks an hour were done",
                  (double)health.throughput / 1000);
    if (health.quality_permille != ROTA_UNKNOWN)
        snprintf (quality, sizeof quality, "; the mean quality of work is %.2f",
                  (double)health.quality_permille / 1000);
    say (self, "project", 0, 0, "%llu of %llu tasks are done, %llu under way, %llu failed%s%s%s%s",
         (unsigned long long)counts.status[STATUS (DONE)], (unsigned long long)counts.total, under_way,
         (unsigned long long)counts.status[STATUS (FAILED)], rate, quality,
         mode.mode == ROTA_MODE_STABILIZE ? "; too much of it fails now, so care counts more than speed: "
                                          : "",
         mode.mode == ROTA_MODE_STABILIZE ? mode.reason : "");
}

/* In this order; each is left out alone when it fails. A review is told what the work was to keep to. */
static const struct {
    void (*gather) (gather_t *self);
    bool in_review;
} PARTS[] = {
    {gather_answers, false}, {gather_last_attempt, false}, {gather_dependencies, false},
    {gather_entries, true},  {gather_project, false},
};

void rota_context_gather (const rota_gathering_t *with, rota_node_t node, Rota__Phase phase,
                          const Rota__TaskSpec *spec, Rota__Context *ret_context)
{
    rota__context__init (ret_context);
    if (rota_setting_integer (with->settings, ROTA_SETTING_CONTEXT_BUDGET) == 0)
        return;
    gather_t *self = rota_arena_alloc (with->arena, sizeof *self);
    if (!self)
        return;
    memset (self, 0, sizeof *self);
    self->with = with;
    self->node = node;
    self->spec = spec;
    self->context = ret_context;
    if (!rota_core_get (with->core, node, &self->it))
        return;
    ret_context->parts = self->list;
    ret_context->budget_used_permille = rota_core_budget_used_permille (with->core, node, with->agent);
    ret_context->has_budget_used_permille = ret_context->budget_used_permille > 0;
    find_terms (self);
    find_related (self);
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++)
        if (phase != PHASE (REVIEW) || PARTS[i].in_review)
            PARTS[i].gather (self);
}
