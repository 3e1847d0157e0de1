/* What tasks touch: from their definitions and from what was changed, into the core and the store. */
#include "scheduler/globs.h"
#include "scheduler/service_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEARNED_MAX_BYTES ((size_t)8 << 10)
#define EPIC_MAX_BYTES ((size_t)16 << 10)

const char *rota_claims_policy (const service_t *self, const Rota__RoadmapHeader *header)
{
    static const char *const WORDS[] = {"strict", "hold", "warn", "off"};
    for (size_t i = 0; header && header->has_claims && i < sizeof WORDS / sizeof *WORDS; i++)
        if (header->claims.len == strlen (WORDS[i]) &&
            memcmp (header->claims.data, WORDS[i], header->claims.len) == 0)
            return WORDS[i];
    return rota_setting_text (self->config.settings, ROTA_SETTING_SCHEDULER_CLAIMS);
}

/* The repository's place, from the root: the same for all that name it from somewhere. NULL: no memory. */
static char *place_of (const Rota__RoadmapHeader *header)
{
    ProtobufCBinaryData name = header->repository, path = header->path;
    const uint8_t *slash = path.len ? memrchr (path.data, '/', path.len) : NULL;
    bool whole = name.data[0] == '/' || memmem (name.data, name.len, "://", 3) || !slash;
    char *place = NULL;
    int length = asprintf (&place, "%.*s%.*s", whole ? 0 : (int)(slash - path.data) + 1,
                           whole ? "" : (const char *)path.data, (int)name.len, (const char *)name.data);
    /* "." and "./" are where the roadmap lies. */
    while (length > 1 && (place[length - 1] == '/' || (place[length - 1] == '.' && place[length - 2] == '/')))
        place[--length] = '\0';
    return length < 0 ? NULL : place;
}

/* Two roadmaps on one repository share its files. */
void rota_claims_of_source (service_t *self, uint32_t index, const Rota__RoadmapHeader *header)
{
    source_t *source = &self->sources.items[index];
    const char *policy = rota_claims_policy (self, header);
    bool hold = strcmp (policy, "strict") == 0 || strcmp (policy, "hold") == 0;
    uint32_t space = index;
    free (source->place);
    source->place = NULL;
    if (source->repository)
        source->place = place_of (header);
    for (uint32_t i = 1; source->place && i < index && space == index; i++)
        if (self->sources.items[i].place && strcmp (self->sources.items[i].place, source->place) == 0)
            space = i;
    rota_core_claim_source (self->core, index, space, hold);
}

static void change (service_t *self, rota_node_t node, const char *globs, size_t size, bool learned)
{
    rota_node_t *changed = VPUSH (self, claims_changed);
    if (changed)
        *changed = node;
    rota_core_claim (self->core, node, globs, size, learned);
}

/* Memory of the batch. */
static char *join (service_t *self, size_t count, const ProtobufCBinaryData *items, size_t most,
                   size_t *ret_size)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += items[i].len + 1;
    char *text = rota_arena_alloc (self->arena, size + sizeof "**");
    *ret_size = text ? rota_globs_join (items, count, most, text) : 0;
    return text;
}

void rota_claims_define (service_t *self, rota_node_t node, const Rota__TaskSpec *spec)
{
    bool learned = false;
    size_t size;
    const char *before = rota_core_claim_of (self->core, node, &learned);
    if (!spec->n_touches && (!before || learned))
        return; /* what was learned still holds */
    char *globs = join (self, spec->n_touches, spec->touches, SIZE_MAX, &size);
    if (globs)
        change (self, node, globs, size, false);
}

/* What the epic's tasks changed so far, and this. It is a guess about others: a list that grows too long is
 * left as it is, and one task that changed everything doesn't make all others wait for each other. */
static void learn_for_epic (service_t *self, rota_node_t epic, const char *globs, size_t size)
{
    bool learned;
    const char *before = rota_core_claim_of (self->core, epic, &learned);
    size_t used = before ? strlen (before) : 0;
    if (used + size > EPIC_MAX_BYTES || strcmp (globs, "**") == 0)
        return;
    char *all = rota_arena_alloc (self->arena, used + size + 2);
    if (!all)
        return;
    memcpy (all, before ? before : "", used);
    for (const char *at = globs; at < globs + size;) {
        size_t length = strcspn (at, "\n");
        bool there = false;
        for (const char *line = all; line < all + used && !there;) {
            size_t known = 0;
            while (line + known < all + used && line[known] != '\n')
                known++;
            there = known == length && memcmp (line, at, length) == 0;
            line += known + 1;
        }
        if (!there && length) {
            if (used)
                all[used++] = '\n';
            memcpy (all + used, at, length);
            used += length;
        }
        at += length + 1;
    }
    change (self, epic, all, used, true);
}

void rota_claims_learn (service_t *self, rota_node_t node, const Rota__Work *work)
{
    const char *learn = rota_setting_text (self->config.settings, ROTA_SETTING_SCHEDULER_CLAIMS_LEARN);
    bool learned = false;
    size_t size;
    rota_core_node_t it;
    const char *before = rota_core_claim_of (self->core, node, &learned);
    if (!work->n_paths || strcmp (learn, "off") == 0 || !rota_core_get (self->core, node, &it))
        return;
    char *globs = join (self, work->n_paths, work->paths, LEARNED_MAX_BYTES, &size);
    if (!globs || !size)
        return;
    if (!before || learned)
        change (self, node, globs, size, true);
    while (it.parent != ROTA_NONE && strcmp (learn, "epic") == 0) {
        rota_node_t epic = it.parent;
        if (!rota_core_get (self->core, epic, &it) || it.parent != ROTA_NONE)
            continue;
        learn_for_epic (self, epic, globs, size);
        break;
    }
}

void rota_claims_store (service_t *self)
{
    for (size_t i = 0; i < self->claims_changed.count; i++) {
        bool learned = false;
        rota_node_t node = self->claims_changed.items[i];
        const char *globs = rota_core_claim_of (self->core, node, &learned);
        rota_store_set_claim (self->store, node, globs, learned);
    }
}
