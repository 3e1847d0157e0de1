/* foreign.c - integration branches that someone else than rota moved: said once for each place that they were
 * moved to, however many attempts see it.
 */
#include "scheduler/service_internal.h"

#define NAME_MAX_BYTES 200

void rota_service_note_foreign (service_t *self, rota_node_t node, const Rota__Work *work)
{
    rota_core_node_t it;
    Rota__Repository repository = ROTA__REPOSITORY__INIT;
    ProtobufCBinaryData head = work->has_onto ? work->onto : work->begun_from;
    if (!work->head_moved || !head.len || head.len >= sizeof ((source_t *)NULL)->foreign)
        return;
    rota_core_get (self->core, node, &it);
    source_t *source = &self->sources.items[it.source];
    if (strlen (source->foreign) == head.len && memcmp (source->foreign, head.data, head.len) == 0)
        return;
    snprintf (source->foreign, sizeof source->foreign, "%.*s", (int)head.len, (const char *)head.data);
    if (!rota_service_locate_repository (self, &it, &repository))
        return;
    char text[2 * NAME_MAX_BYTES + 300];
    int place = (int)(repository.location.len < NAME_MAX_BYTES ? repository.location.len : NAME_MAX_BYTES);
    snprintf (
        text, sizeof text,
        "someone else than rota moved the integration branch of %.*s: it is at %.12s, and work goes on from "
        "there; `git reflog` or `git log` of it says more",
        place, repository.location.data ? (const char *)repository.location.data : "", source->foreign);
    rota_core_note (self->core, EVENT (TARGET_MOVED), text);
}
