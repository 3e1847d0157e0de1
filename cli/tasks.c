#include "cli/tasks.h"

#include <stdlib.h>
#include <string.h>

#define PAGE 1000
#define LOOK_MAX 20000

int rota_tasks_each (rota_link_t *link, Rota__TasksQuery *query,
                     bool (*each) (void *owner, const Rota__TaskState *task),
                     void (*page) (void *owner, const Rota__TasksReply *reply), void *owner)
{
    bool more = true;
    query->has_limit = query->has_after_key = true;
    query->limit = PAGE;
    query->after_key = 0;
    while (more) {
        Rota__TasksReply *reply = NULL;
        int code = rota_link_call (link, ROTA_MESSAGE_TASKS_QUERY, &query->base, ROTA_CALL_MS,
                                   ROTA_MESSAGE_TASKS_REPLY, &reply);
        if (code != ROTA_EXIT_DONE)
            return code;
        for (size_t i = 0; i < reply->n_tasks && more; i++)
            more = each (owner, reply->tasks[i]);
        if (page)
            page (owner, reply);
        /* A page may be empty and yet not the last: filters apply after the cut. */
        more &= reply->has_next_key && reply->next_key > query->after_key;
        query->after_key = reply->next_key;
    }
    return ROTA_EXIT_DONE;
}

/* A message lives only until the next call; packing it is the one way to copy it that knows every field. */
static ProtobufCMessage *copy (const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size (message);
    uint8_t *bytes = malloc (size + 1);
    if (!bytes)
        return NULL;
    protobuf_c_message_pack (message, bytes);
    ProtobufCMessage *other = protobuf_c_message_unpack (message->descriptor, NULL, size, bytes);
    free (bytes);
    return other;
}

typedef struct {
    rota_task_list_t *list;
    size_t most, seen;
    bool (*wanted) (const Rota__TaskState *task);
    bool failed;
} fetch_t;

static bool keep (void *owner, const Rota__TaskState *task)
{
    fetch_t *self = owner;
    rota_task_list_t *list = self->list;

    if (list->count >= self->most)
        return false;
    if (self->wanted && !self->wanted (task))
        return ++self->seen < LOOK_MAX;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        Rota__TaskState **wider = realloc (list->list, capacity * sizeof *wider);
        if (!wider) {
            self->failed = true;
            return false;
        }
        list->list = wider;
        list->capacity = capacity;
    }
    ProtobufCMessage *other = copy (&task->base);
    self->failed |= !other;
    if (other)
        list->list[list->count++] = (Rota__TaskState *)other;
    return !self->failed && list->count < self->most;
}

static void keep_headers (void *owner, const Rota__TasksReply *reply)
{
    fetch_t *self = owner;
    rota_task_list_t *list = self->list;

    if (list->header_count > 0 || reply->n_headers == 0)
        return;
    list->headers = calloc (reply->n_headers, sizeof *list->headers);
    for (size_t i = 0; list->headers && i < reply->n_headers; i++) {
        ProtobufCMessage *other = copy (&reply->headers[i]->base);
        if (other)
            list->headers[list->header_count++] = (Rota__RoadmapHeader *)other;
    }
}

int rota_tasks_fetch (rota_link_t *link, Rota__TasksQuery *query, size_t most,
                      bool (*wanted) (const Rota__TaskState *task), rota_task_list_t *ret_list)
{
    fetch_t self = {.list = ret_list, .most = most, .wanted = wanted};
    int code = rota_tasks_each (link, query, keep, keep_headers, &self);
    return code == ROTA_EXIT_DONE && self.failed ? rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory")
                                                 : code;
}

void rota_tasks_free (rota_task_list_t *list)
{
    for (size_t i = 0; i < list->count; i++)
        rota__task_state__free_unpacked (list->list[i], NULL);
    for (size_t i = 0; i < list->header_count; i++)
        rota__roadmap_header__free_unpacked (list->headers[i], NULL);
    free (list->list);
    free (list->headers);
    *list = (rota_task_list_t){0};
}
