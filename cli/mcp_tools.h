/* mcp_tools.h - the tools of `rota mcp`: mcp_client.c for people's programs, mcp_attempt.c within an attempt.
 *
 * Owner thread: the only one.
 */
#ifndef ROTA_MCP_TOOLS_H
#define ROTA_MCP_TOOLS_H

#include "cli/link.h"
#include "cli/mcp.h"

typedef struct {
    const rota_cli_t *cli;
    rota_link_t link; /* of the call that runs */
} rota_mcp_client_t;

extern const rota_mcp_tool_t ROTA_MCP_CLIENT_TOOLS[];
extern const size_t ROTA_MCP_CLIENT_TOOL_COUNT;
extern const char ROTA_MCP_CLIENT_INSTRUCTIONS[];

/* What an attempt is told by its environment; borrowed. */
typedef struct {
    const char *outbox;  /* file that it may append to */
    const char *context; /* file with what it was told; NULL = none */
    bool reviews;        /* no work of its own: it can't ask */
} rota_mcp_attempt_t;

extern const rota_mcp_tool_t ROTA_MCP_ATTEMPT_TOOLS[];
extern const size_t ROTA_MCP_ATTEMPT_TOOL_COUNT;
extern const char ROTA_MCP_ATTEMPT_INSTRUCTIONS[];

#endif
