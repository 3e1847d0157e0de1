/* mcp.h - the server's side of the Model Context Protocol: JSON-RPC 2.0, a message a line, over two pipes.
 *
 * Both eras of it. With a handshake (`initialize`; versions 2024-11-05 to 2025-11-25, the client's if we have
 * it, else our newest), where the session keeps the version. Without (2026-07-28): each request names its
 * version and the client's capabilities in `_meta`, and nothing of an earlier one counts for it. A server of
 * ours offers tools and nothing else, so that none of the two sends anything that wasn't asked for.
 *
 * A tool's table of arguments is at once its JSON schema and what is checked. What a tool can't do is an
 * answer with `isError`, which the model reads and may mend; protocol errors are for what no tool was called
 * by.
 *
 * mcp_protocol.c and mcp_arguments.c are pure: bytes in, lines out. Owner thread: any one.
 */
#ifndef ROTA_MCP_H
#define ROTA_MCP_H

#include "bus/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define ROTA_MCP_LINE_MAX_BYTES ((size_t)1 << 20)
#define ROTA_MCP_ANSWER_MAX_BYTES ((size_t)96 << 10) /* of text in an answer: it costs the client's model */
#define ROTA_MCP_BATCH_MAX 100
#define ROTA_MCP_STATELESS "2026-07-28"

/* ---- tools */

typedef enum { ROTA_MCP_TEXT, ROTA_MCP_INTEGER, ROTA_MCP_NUMBER, ROTA_MCP_TEXTS } rota_mcp_kind_t;

typedef struct {
    const char *name, *help;
    rota_mcp_kind_t kind;
    bool required;
    const char *choices; /* of a text: "decision,constraint"; NULL = any */
    double least, most;  /* of a number; `most` of a text its bytes, of texts how many (each of 200 bytes) */
} rota_mcp_argument_t;

typedef struct {
    char *text;     /* malloc'ed */
    json_t *object; /* instead of a text */
    bool failed;
} rota_mcp_answer_t;

enum { ROTA_MCP_READS = 1, ROTA_MCP_REPEATABLE = 2, ROTA_MCP_DESTROYS = 4 };

typedef struct {
    const char *name, *title, *description;
    const rota_mcp_argument_t *arguments; /* ended by one without a name; NULL = none */
    unsigned habits;
    const char *needs; /* what it is allowed by (`--allow`), or NULL = nothing */
    /* `arguments` is an object that fits the table. */
    void (*call) (void *owner, const json_t *arguments, rota_mcp_answer_t *answer);
} rota_mcp_tool_t;

/* What a tool says: one of these, once. */
__attribute__ ((format (printf, 2, 3))) void rota_mcp_say (rota_mcp_answer_t *answer, const char *format,
                                                           ...);
__attribute__ ((format (printf, 2, 3))) void rota_mcp_refuse (rota_mcp_answer_t *answer, const char *format,
                                                              ...);
void rota_mcp_give (rota_mcp_answer_t *answer, json_t *object); /* takes the reference */
/* Bytes from outside; what isn't UTF-8 is replaced. */
void rota_mcp_give_bytes (rota_mcp_answer_t *answer, const void *bytes, size_t size);

/* Arguments, once checked; `absent` where one wasn't given. */
const char *rota_mcp_text (const json_t *arguments, const char *name, const char *absent);
int64_t rota_mcp_integer (const json_t *arguments, const char *name, int64_t absent);

/* ---- mcp_arguments.c */

json_t *rota_mcp_schema (const rota_mcp_argument_t *arguments);
/* 0, or -EINVAL with what is wrong, in words for who called. */
int rota_mcp_check (const rota_mcp_argument_t *arguments, const json_t *given, rota_error_t *error);
/* Cuts each text in a value to at most so many bytes, between characters. */
void rota_mcp_clip (json_t *value, size_t most_bytes);

/* ---- mcp_protocol.c */

typedef struct {
    const rota_mcp_tool_t *const *tools; /* in the order in which they are listed */
    size_t tool_count;
    const char *instructions; /* for the model */
    void *owner;              /* of the tools */
    /* `line` ends with a newline. False: nobody reads any more, which ends the session. */
    bool (*send) (void *to, const char *line, size_t size);
    void *to;
    /* its own */
    const char *version; /* agreed by `initialize`, NULL = not yet */
    char *bytes;         /* the beginning of a line */
    size_t used, capacity;
    bool skips; /* the rest of a line that is too long */
    bool over;
} rota_mcp_t;

/* Takes bytes as they come and answers each line. False when it is over. */
bool rota_mcp_feed (rota_mcp_t *self, const char *bytes, size_t size);
/* There are no more: also what has no newline is answered. Frees what it holds. */
void rota_mcp_end (rota_mcp_t *self);

#endif
