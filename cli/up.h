/* up.h - the services in the background, and the options that say which agents.
 *
 * Owner thread: any.
 */
#ifndef ROTA_UP_H
#define ROTA_UP_H

#include "cli/link.h"
#include "scheduler/roadmap.h"

typedef struct {
    const char **list; /* as given; point into the options */
    size_t count;
    const char *exec;
    bool trust;
} rota_agents_option_t;

/* --agent, --exec and --command of run and up, checked. Exit code, after a message. */
int rota_agents_option (const rota_cli_t *cli, rota_agents_option_t *ret_agents);
/* Without --agent: what the roadmap says in `agents:`, which it must outlive; else the kinds that its tasks
 * name, exec, and for prompts that name none the agent programs that are installed and logged in. 0, -ENOMEM,
 * or -EINVAL with what is wrong. */
int rota_agents_discover (const rota_cli_t *cli, rota_agents_option_t *agents, const rota_roadmap_t *roadmap,
                          rota_error_t *error);
/* And one for gates and merges, which a roadmap with a repository needs. -ENOMEM. */
int rota_agents_add_git (rota_agents_option_t *agents);
void rota_agents_free (rota_agents_option_t *agents);
/* "exec with 4 slots". */
void rota_agents_describe (const rota_agents_option_t *agents, char *ret_text, size_t capacity);

/* Services that stay, and a way to them; those that are there are taken. Exit code, after a message. */
int rota_up (const rota_cli_t *cli, const rota_agents_option_t *agents, rota_link_t *ret_link);

#endif
