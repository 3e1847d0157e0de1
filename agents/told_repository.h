/* told_repository.h - what a repository knows of a task: the files that its words lead to, by name, content
 * and history, and the rules that lie in it. Everything is looked up in one commit, so that each file exists;
 * no file is read through a link, and nothing of the repository's own is run.
 *
 * Each part is found on its own; one that fails is left out. Owner: the thread of the driver.
 */
#ifndef ROTA_TOLD_REPOSITORY_H
#define ROTA_TOLD_REPOSITORY_H

#include "agents/git.h"
#include "agents/told.h"

/* `about`: the task in words; `touches`: globs, NULL-terminated, or NULL. Adds parts "file" and "rules". */
void rota_told_repository (rota_told_t *told, const rota_git_t *git, const char *commit, const char *about,
                           const char *const *touches, size_t most_files);

#endif
