/* mirror.h - what a repository that is reached by a URL has on this host: one bare copy for all attempts,
 * whose objects their clones share. It is fetched from where it stands, so that an attempt costs what is new
 * there.
 *
 * MIRRORS/NAME has `lock`: shared by every driver whose clone looks into it, exclusive for whoever packs it
 * anew or removes it; and `fetch.lock` for the one that fetches. A mirror that nobody has used for the
 * retention is removed by whoever opens another. One that is found broken is made anew when nobody uses it,
 * and passed by until then.
 *
 * Owner: the thread of the driver, see workspace.h.
 */
#ifndef ROTA_MIRROR_H
#define ROTA_MIRROR_H

#include "agents/git.h"

typedef struct {
    const char *path;    /* a git directory */
    const char *objects; /* in it */
    int lock_fd;         /* held until the process ends */
} rota_mirror_t;

/* Opens or makes that of `url` in the directory `mirrors`. `git` has the environment alone. A negative errno,
 * upon which one does without. */
int rota_mirror_open (rota_pool_t *pool, const char *mirrors, const char *url, const char *format,
                      int64_t retention_ms, const rota_git_t *git, rota_mirror_t *ret_self,
                      rota_error_t *error);
/* Brings it up to date by `git fetch ARGUMENT...`, and has `ours` name the same refs. */
int rota_mirror_fetch (const rota_mirror_t *self, const rota_git_t *git, const char *ours,
                       const char *const *arguments, rota_error_t *error);
/* It was of no use: the next one that can makes it anew. */
void rota_mirror_give_up (const rota_mirror_t *self);

#endif
