/* git.h - questions to git, which knows the user's repository better than rota. */
#ifndef ROTA_CLI_GIT_H
#define ROTA_CLI_GIT_H

#include <stdbool.h>

#define ROTA_GIT_LINE_BYTES 512

/* The first line that `git ARGUMENT...` prints; its exit status, or -1. `arguments` begins with "git". */
int rota_git_ask (char *const *arguments, char ret_line[ROTA_GIT_LINE_BYTES]);
#define ROTA_GIT_ASK(line, ...) rota_git_ask ((char *[]){"git", __VA_ARGS__, NULL}, (line))

/* The branch that is checked out in `directory`; false when there is none. */
bool rota_git_branch (const char *directory, char ret_branch[ROTA_GIT_LINE_BYTES]);

#endif
