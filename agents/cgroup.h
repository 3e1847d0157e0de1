/* cgroup.h - a control group for each attempt, where the kernel and our rights allow one.
 *
 * What it adds to tree.h: the kernel ends all of a group at once (v2: cgroup.kill), or holds all of it still
 * while it is ended (v1: freezer), so that no fork bomb outruns it; a group outlives host and shim, so the
 * next host finds what they left; v2 may also limit memory. Without it everything works by /proc.
 *
 * Groups are made below the host's own, named by rota_cgroup_name. Owner thread: any.
 */
#ifndef ROTA_CGROUP_H
#define ROTA_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define ROTA_CGROUP_PATH_BYTES 512

/* Where groups may be made, tried by making one. 0 and the path; -ENOTSUP when nowhere. */
int rota_cgroup_find_parent (char ret_path[ROTA_CGROUP_PATH_BYTES]);

#define ROTA_CGROUP_NAME_BYTES 96
/* `mark` is the attempt's, from sweep.h. */
void rota_cgroup_name (const char *mark, char ret_name[ROTA_CGROUP_NAME_BYTES]);

typedef struct {
    char path[ROTA_CGROUP_PATH_BYTES]; /* "" = none */
    bool v2;
    bool limits_memory;
    int fd; /* of the directory: v2 starts processes in it */
} rota_cgroup_t;

/* 0 and the group, or a negative errno and an empty one. An older group of that name is emptied and used. */
int rota_cgroup_make (const char *parent, const char *name, uint64_t memory_limit_bytes,
                      rota_cgroup_t *ret_group);
/* fork that starts the child inside the group, where there is one. */
pid_t rota_cgroup_fork (const rota_cgroup_t *self);
void rota_cgroup_kill (const rota_cgroup_t *self);
/* Whether the kernel ended something in it for its memory. */
bool rota_cgroup_out_of_memory (const rota_cgroup_t *self);
/* Removes the group, which must be empty, and makes *self empty. */
void rota_cgroup_remove (rota_cgroup_t *self);

/* Ends and removes what a dead shim left under that name. True when nothing of it is there. */
bool rota_cgroup_end (const char *parent, const char *name);

#endif
