/* tasks.h - lists of tasks from the scheduler, page by page.
 *
 * Owner thread: the link's.
 */
#ifndef ROTA_TASKS_H
#define ROTA_TASKS_H

#include "cli/link.h"

typedef struct {
    size_t count, capacity;
    Rota__TaskState **list; /* owned copies */
    size_t header_count;
    Rota__RoadmapHeader **headers;
} rota_task_list_t;

/* Calls `each` for every task that `query` asks for (its page fields are filled in here), in order of key,
 * until it returns false. After each page `page` is called if it isn't NULL. Exit code, after a message. */
int rota_tasks_each (rota_link_t *link, Rota__TasksQuery *query,
                     bool (*each) (void *owner, const Rota__TaskState *task),
                     void (*page) (void *owner, const Rota__TasksReply *reply), void *owner);

/* Copies of the first `most` of them; with `wanted`, of those for which it is true among the first 20 000.
 * The list is to be freed also after a failure. */
int rota_tasks_fetch (rota_link_t *link, Rota__TasksQuery *query, size_t most,
                      bool (*wanted) (const Rota__TaskState *task), rota_task_list_t *ret_list);
void rota_tasks_free (rota_task_list_t *list);

/* A line for people if the task's newest work in a repository was made outside of the sandbox. */
void rota_work_tell_isolation (const Rota__TaskReply *reply);

#endif
