/* bench_context - what assembling the context of a task costs.
 *
 *     bench_context [--entries N] [--files N] [--rounds N]
 *
 * The scheduler's part, which holds up its loop: rota_context_gather on a real store with 100 000 entries,
 * for tasks of five kinds (below), the store's pages warm and after the kernel has forgotten them. The agent
 * host's part: rota_told_repository on a repository of 10 000 files with 500 commits, and the choice of what
 * fits, step by step. Prints one JSON object a line.
 */
#include "agents/told.h"
#include "agents/told_repository.h"
#include "bus/settings.h"
#include "proto/words.h"
#include "scheduler/context.h"
#include "scheduler/define.h"
#include "tests/bench/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TASKS 2000
#define GROUP 20 /* tasks of an epic */
#define ARENA_BYTES ((size_t)64 << 20)
#define WORDS 4000

typedef struct {
    size_t entries, files, rounds;
    char directory[64];
    rota_store_t *store;
    rota_core_t *core;
    rota_settings_t *settings;
    rota_arena_t *arena;
    uint64_t seed;
} bench_context_t;

static uint64_t draw (bench_context_t *self)
{
    self->seed ^= self->seed << 13;
    self->seed ^= self->seed >> 7;
    self->seed ^= self->seed << 17;
    return self->seed;
}

/* As in a language, some words are in every other text and most in a few. */
static const char *word (bench_context_t *self)
{
    static char text[32];
    uint64_t number = draw (self) % WORDS;
    if (draw (self) % 2)
        number %= 40;
    snprintf (text, sizeof text, "%s%llu", number < 40 ? "storage" : "ledgerword",
              (unsigned long long)number);
    return text;
}

static const char *sentence (bench_context_t *self, size_t words)
{
    static char text[2048];
    size_t used = 0;
    for (size_t i = 0; i < words; i++)
        used += (size_t)snprintf (text + used, sizeof text - used, "%s%s", i ? " " : "", word (self));
    return text;
}

/* ---- the store */

static rota_node_t add_node (bench_context_t *self, const char *id, Rota__NodeKind kind, rota_node_t parent)
{
    const char *prompt = "prompt";
    uint32_t class_index;
    bool is_new;
    rota_node_t node;
    rota_core_node_t given = {.id = id,
                              .id_length = strlen (id),
                              .kind = kind,
                              .parent = parent,
                              .source = 1,
                              .status = kind == NODE (TASK) ? STATUS (PENDING) : 0,
                              .attempts_allowed = 3};
    if (rota_core_class (self->core, 1, "", 0, &prompt, 1, &class_index, &is_new) < 0)
        bench_die ("class", "no memory");
    given.class_index = class_index;
    if (rota_core_add (self->core, &given, &node) < 0)
        bench_die ("add", "no memory");
    const char *title = sentence (self, 6);
    rota_definition_t definition = {
        .title = title, .title_length = strlen (title), .spec = (const uint8_t *)"", .spec_size = 0};
    if (is_new)
        rota_store_set_class (self->store, self->core, class_index);
    rota_store_add_task (self->store, self->core, node, 0, &definition, 0, 5000);
    return node;
}

static void begin (bench_context_t *self)
{
    rota_error_t error = {""};
    if (rota_store_begin (self->store, &error) < 0)
        bench_die ("begin", error.text);
}

static void commit (bench_context_t *self)
{
    rota_error_t error = {""};
    if (rota_store_commit (self->store, &error) < 0)
        bench_die ("commit", error.text);
}

/* Epics of 20 tasks, each task after three earlier ones. */
static void make_tasks (bench_context_t *self)
{
    char id[32];
    rota_node_t epic = ROTA_NONE, nodes[TASKS];
    begin (self);
    rota_store_set_source (self->store, 1, "plan", 4, NULL, 0);
    for (size_t i = 0; i < TASKS; i++) {
        if (i % GROUP == 0) {
            snprintf (id, sizeof id, "epic%zu", i / GROUP);
            epic = add_node (self, id, NODE (EPIC), ROTA_NONE);
        }
        snprintf (id, sizeof id, "task%zu", i);
        nodes[i] = add_node (self, id, NODE (TASK), epic);
        for (size_t d = 0; d < 3 && i > 3; d++) {
            rota_node_t before = nodes[i - 1 - draw (self) % (i - 1)];
            if (rota_core_link (self->core, before, nodes[i]) == 0)
                rota_store_add_dependency (self->store, nodes[i], before, DEPENDENCY (BLOCKS));
        }
    }
    commit (self);
}

/* Half a year of them. One task in a hundred has thousands. */
static void make_entries (bench_context_t *self)
{
    int64_t now_ms = 1700000000000, age_ms = (int64_t)180 * 86400000;
    for (size_t i = 0; i < self->entries; i++) {
        char topic[256], text[2048];
        bool is_new;
        rota_node_t about[3];
        if (i % 2000 == 0)
            begin (self);
        snprintf (topic, sizeof topic, "%s", sentence (self, 2));
        snprintf (text, sizeof text, "%zu %s", i, sentence (self, 5 + draw (self) % 40));
        rota_node_t task = (rota_node_t)(draw (self) % rota_core_count (self->core));
        if (draw (self) % 4 == 0)
            task -= task % 100;
        for (size_t a = 0; a < 3; a++)
            about[a] = (rota_node_t)(draw (self) % rota_core_count (self->core));
        const rota_entry_t entry = {.type = (Rota__NoteType)(NOTE (DECISION) + draw (self) % 3),
                                    .task = task,
                                    .attempt = 1,
                                    .author = "claude@here",
                                    .by_hand = draw (self) % 10 == 0,
                                    .time_ms = now_ms - age_ms +
                                               (int64_t)((double)age_ms * (double)i / (double)self->entries),
                                    .confidence = 0.5,
                                    .topic = topic,
                                    .topic_length = strlen (topic),
                                    .text = text,
                                    .text_length = strlen (text)};
        if (!rota_store_add_entry (self->store, &entry, about, draw (self) % 4, &is_new))
            bench_die ("add", "an entry can't be added");
        if (i % 2000 == 1999 || i + 1 == self->entries)
            commit (self);
    }
}

static void forget_pages (const bench_context_t *self)
{
    char path[96];
    snprintf (path, sizeof path, "%s/rota.db", self->directory);
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fdatasync (fd) < 0 || posix_fadvise (fd, 0, 0, POSIX_FADV_DONTNEED))
        bench_die (path, strerror (errno));
    close (fd);
}

/* Anew: SQLite's own cache is empty then, too. */
static void open_store (bench_context_t *self)
{
    char path[96];
    rota_error_t error = {""};
    uint64_t epoch;
    rota_store_close (&self->store);
    snprintf (path, sizeof path, "%s/rota.db", self->directory);
    if (rota_store_open (path, &self->store, &error) < 0 ||
        rota_store_take_role (self->store, &epoch, &error) < 0)
        bench_die ("store", error.text);
}

/* ---- figures */

static double share (const double *sorted, size_t count, double part)
{
    size_t at = (size_t)((double)count * part);
    return sorted[at < count ? at : count - 1];
}

/* What this thread has used: on a machine that others use, the time until an end tells more of them. */
static double used_ms (void)
{
    struct timespec now;
    clock_gettime (CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void print (const char *what, const char *clock, double *took_ms, size_t count, double parts)
{
    bench_sort (took_ms, count);
    printf ("{\"bench\": \"context\", \"what\": \"%s\", \"clock\": \"%s\", \"rounds\": %zu, \"p50_ms\": "
            "%.3f, \"p99_ms\": %.3f, "
            "\"p999_ms\": %.3f, \"max_ms\": %.3f, \"parts\": %.1f}\n",
            what, clock, count, share (took_ms, count, 0.5), share (took_ms, count, 0.99),
            share (took_ms, count, 0.999), took_ms[count - 1], parts);
    fflush (stdout);
}

/* ---- the scheduler's part */

/* What the task says: from nothing, by words that a few entries have, to those that half of them have. */
static void describe (bench_context_t *self, const char *kind, Rota__TaskSpec *spec, char text[2048])
{
    *text = '\0';
    if (strcmp (kind, "rare words") == 0)
        for (int i = 0; i < 24; i++)
            snprintf (strchr (text, '\0'), 40, "ledgerword%llu ",
                      (unsigned long long)(40 + draw (self) % 3900));
    else if (strcmp (kind, "common words") == 0)
        for (int i = 0; i < 24; i++)
            snprintf (strchr (text, '\0'), 40, "storage%llu ", (unsigned long long)(draw (self) % 40));
    else if (strcmp (kind, "words") == 0)
        snprintf (text, 2048, "%s", sentence (self, 40));
    rota__task_spec__init (spec);
    spec->has_prompt = true;
    spec->prompt = rota_bytes (text);
}

static void measure_gather (bench_context_t *self, const char *kind, bool cold)
{
    size_t rounds = cold ? self->rounds / 10 + 1 : self->rounds;
    double *took_ms = malloc (rounds * sizeof *took_ms), *cost_ms = malloc (rounds * sizeof *cost_ms);
    double parts = 0;
    char what[64];
    if (!took_ms || !cost_ms)
        bench_die ("rounds", "no memory");
    for (size_t i = 0; i < rounds; i++) {
        Rota__TaskSpec spec;
        Rota__Context context;
        char text[2048];
        rota_core_node_t it;
        rota_node_t node;
        do
            node = (rota_node_t)(draw (self) % rota_core_count (self->core));
        while (!rota_core_get (self->core, node, &it) || it.kind != NODE (TASK));
        if (strcmp (kind, "crowded task") == 0)
            node -= node % 100;
        describe (self, kind, &spec, text);
        if (cold) {
            open_store (self);
            forget_pages (self);
        }
        const rota_gathering_t with = {.store = self->store,
                                       .core = self->core,
                                       .settings = self->settings,
                                       .arena = self->arena,
                                       .agent = ROTA_NONE,
                                       .wall_ms = 1700000000000,
                                       .now_ms = 1700000000000};
        rota_arena_reset (self->arena);
        double begun_ms = bench_now_ms (), unused_ms = used_ms ();
        rota_context_gather (&with, node, PHASE (WORK), &spec, &context);
        cost_ms[i] = used_ms () - unused_ms;
        took_ms[i] = bench_now_ms () - begun_ms;
        parts += (double)context.n_parts;
    }
    snprintf (what, sizeof what, "scheduler, %s%s", kind, cold ? ", cold" : "");
    print (what, "wall", took_ms, rounds, parts / (double)rounds);
    print (what, "thread", cost_ms, rounds, parts / (double)rounds);
    free (took_ms);
    free (cost_ms);
}

static void run_scheduler (bench_context_t *self)
{
    static const char *const KINDS[] = {"words", "rare words", "common words", "no words", "crowded task"};
    rota_core_policy_t policy;
    rota_error_t error = {""};
    rota_core_policy_default (&policy);
    self->core = rota_core_new (&policy, 1000);
    self->arena = rota_arena_new (ARENA_BYTES);
    if (!self->core || !self->arena || rota_settings_load (NULL, stderr, &self->settings, &error) < 0)
        bench_die ("core", error.text);
    open_store (self);
    make_tasks (self);
    double begun_ms = bench_now_ms ();
    make_entries (self);
    printf ("{\"bench\": \"context\", \"what\": \"entries\", \"entries\": %zu, \"added_per_s\": %.0f}\n",
            self->entries, (double)self->entries * 1e3 / (bench_now_ms () - begun_ms));
    open_store (self);
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        measure_gather (self, KINDS[i], false);
    measure_gather (self, "words", true);
    rota_arena_destroy (&self->arena);
    rota_settings_destroy (&self->settings);
    rota_store_close (&self->store);
    rota_core_destroy (&self->core);
}

/* ---- the agent host's part */

static void shell (const char *words, const char *directory)
{
    char command[1024];
    snprintf (command, sizeof command, "cd '%s' && %s", directory, words);
    if (system (command))
        bench_die ("shell", command);
}

/* In one fast-import: files of 100 lines in directories of 50, and 500 commits that change four of them each.
 */
static void make_repository (bench_context_t *self)
{
    char path[128];
    snprintf (path, sizeof path, "%s/stream", self->directory);
    FILE *stream = fopen (path, "w");
    if (!stream)
        bench_die (path, strerror (errno));
    for (size_t c = 0; c <= 500; c++) {
        char subject[512];
        snprintf (subject, sizeof subject, "%s", sentence (self, 6));
        fprintf (stream, "commit refs/heads/main\ncommitter B <b@example.org> %zu +0000\ndata %zu\n%s\n",
                 1600000000 + c, strlen (subject), subject);
        for (size_t f = 0; f < (c ? 4 : self->files); f++) {
            size_t number = c ? draw (self) % self->files : f;
            char *text = NULL;
            size_t size = 0;
            FILE *file = open_memstream (&text, &size);
            for (int line = 0; file && line < 100; line++)
                fprintf (file, "    %s (%s);\n", line % 5 ? "call" : word (self),
                         line % 7 ? "x" : word (self));
            if (!file || fclose (file))
                bench_die ("file", "no memory");
            fprintf (stream, "M 644 inline dir%zu/ledgerword%zu.c\ndata %zu\n%s\n", number / 50, number, size,
                     text);
            free (text);
        }
    }
    if (fclose (stream))
        bench_die (path, strerror (errno));
    shell ("git -c init.defaultBranch=main init -q --bare r && git -C r fast-import --quiet < "
           "stream && rm stream",
           self->directory);
}

static void run_repository (bench_context_t *self)
{
    static const char *const NONE[] = {"dir7/*", "dir*/ledgerword1*.c", NULL};
    char git_dir[128], commit_oid[ROTA_GIT_OID_BYTES] = "";
    size_t rounds = self->rounds / 20 + 2, parts = 0;
    double *found_ms = malloc (rounds * sizeof *found_ms), *fitted_ms = malloc (rounds * sizeof *fitted_ms);
    rota_error_t error = {""};
    if (!found_ms || !fitted_ms)
        bench_die ("rounds", "no memory");
    make_repository (self);
    snprintf (git_dir, sizeof git_dir, "%s/r", self->directory);
    for (size_t i = 0; i < rounds; i++) {
        rota_pool_t *pool = rota_pool_new ();
        rota_told_t told = {.pool = pool};
        rota_told_report_t report;
        const rota_git_t git = {.environment = rota_git_environment (pool), .git_dir = git_dir};
        if (!*commit_oid &&
            rota_git_line (&git, commit_oid, sizeof commit_oid, NULL, &error, "rev-parse", "main", NULL) < 0)
            bench_die ("git", error.text);
        const char *about = sentence (self, 20);
        double begun_ms = bench_now_ms ();
        rota_told_repository (&told, &git, commit_oid, about, NONE, 8);
        found_ms[i] = bench_now_ms () - begun_ms;
        parts += told.count;
        for (int p = 0; p < 190; p++) {
            const char *text = sentence (self, 30);
            rota_told_add (&told, p % 3 ? "decision" : "dependency", p, text, strlen (text));
        }
        begun_ms = bench_now_ms ();
        if (!rota_told_render (&told, 4000, false, NULL, &report))
            bench_die ("render", "no memory");
        fitted_ms[i] = bench_now_ms () - begun_ms;
        rota_pool_destroy (&pool);
    }
    print ("host, likely files", "wall", found_ms, rounds, (double)parts / (double)rounds);
    print ("host, fitting 190 parts", "wall", fitted_ms, rounds, 190);
    free (found_ms);
    free (fitted_ms);
}

int main (int argc, char **argv)
{
    bench_context_t self = {.entries = 100000, .files = 10000, .rounds = 2000, .seed = 88172645463325252u};
    for (int i = 1; i + 1 < argc; i += 2) {
        size_t *to = strcmp (argv[i], "--entries") == 0  ? &self.entries
                     : strcmp (argv[i], "--files") == 0  ? &self.files
                     : strcmp (argv[i], "--rounds") == 0 ? &self.rounds
                                                         : NULL;
        if (!to || !(*to = strtoul (argv[i + 1], NULL, 10)))
            bench_die (argv[i], "--entries N, --files N or --rounds N");
    }
    strcpy (self.directory, "/tmp/rota-bench-context-XXXXXX");
    if (!mkdtemp (self.directory))
        bench_die (self.directory, strerror (errno));
    run_scheduler (&self);
    run_repository (&self);
    shell ("rm -rf \"$PWD\"", self.directory);
    return 0;
}
