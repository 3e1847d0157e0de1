/* tree.h - the processes below a process: found, signalled, measured.
 *
 * Agent programs start their tools in sessions and groups of their own, so a tree is found by parents, in
 * /proc. That works for all of it when `root` is a subreaper: whatever loses its parent becomes root's child.
 *
 * Owner thread: any. A tree is a snapshot; each process is identified by pid and start time, and a signal
 * goes through a pidfd checked against both, so that a reused pid is never hit.
 */
#ifndef ROTA_TREE_H
#define ROTA_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
    pid_t pid, parent;
    uint64_t start_ticks; /* since boot, as /proc says */
    char state;           /* R, S, D, T, Z, ... */
} rota_process_t;

typedef struct {
    rota_process_t *list;
    size_t count, capacity;
} rota_tree_t;

/* 0, or -ESRCH. */
int rota_process_read (pid_t pid, rota_process_t *ret_process);
/* Whether that very process lives (a zombie doesn't). */
bool rota_process_lives (pid_t pid, uint64_t start_ticks);

/* All living descendants of `root`, without it, parents before their children. With `children_only` those of
 * its children for which `wanted` says true, and what is below them. 0; -ENOMEM; or why /proc can't be read.
 * Initialise the tree with zeros; free it with rota_tree_clear. */
int rota_tree_collect (rota_tree_t *self, pid_t root, bool (*wanted) (void *context, pid_t child),
                       void *context);
void rota_tree_clear (rota_tree_t *self);

/* Returns how many were signalled. */
size_t rota_tree_signal (const rota_tree_t *self, int signal_number);

/* SIGKILL to everything below `root` (see rota_tree_collect). First all of it is stopped, round by round, so
 * that nothing is born while the rest dies. Returns how many were hit; 0 = none was found alive. */
size_t rota_tree_kill (pid_t root, bool (*wanted) (void *context, pid_t child), void *context);

/* Resident memory of its processes; pages that several share count for each. */
uint64_t rota_tree_rss_bytes (const rota_tree_t *self);

#endif
