/* tools.h - the tools that an agent has within its attempt (`rota mcp`, docs/mcp.md), as each kind of program
 * is told of them. The program stands beside this one, and the sandbox shows it (sandbox.c).
 *
 * Owner: the host's thread; rota_tools_for_acp the conversation's.
 */
#ifndef ROTA_TOOLS_H
#define ROTA_TOOLS_H

#include "agents/adapter.h"

#include <jansson.h>

/* What Claude Code calls all of them. */
#define ROTA_TOOLS_CLAUDE_NAME "mcp__rota"

/* The program's path, from the pool. NULL: agents.mcp is off, there is none here, its path is one that can't
 * be quoted, or no memory; the agent does without. */
const char *rota_tools_program (const rota_adapter_context_t *context, rota_pool_t *pool);

/* For --mcp-config. NULL on no memory. */
const char *rota_tools_for_claude (const char *program, rota_pool_t *pool);

/* Options for `codex`, at most ROTA_TOOLS_CODEX_MAX, to `ret_arguments`. How many; 0 on no memory. */
#define ROTA_TOOLS_CODEX_MAX 8
size_t rota_tools_for_codex (const char *program, rota_pool_t *pool, const char **ret_arguments);

/* For mcpServers of session/new: with what the environment of this process says of the attempt. */
json_t *rota_tools_for_acp (const char *program);

#endif
