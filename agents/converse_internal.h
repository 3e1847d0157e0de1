/* converse_internal.h - the conversation, as its protocols see it. */
#ifndef ROTA_CONVERSE_INTERNAL_H
#define ROTA_CONVERSE_INTERNAL_H

#include "agents/converse.h"

#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#define ROTA_CONVERSE_UNKNOWN_METHOD (-32601)

typedef struct rota_conversation rota_conversation_t;

typedef struct {
    const char *name;
    bool marked; /* messages bear "jsonrpc": "2.0" */
    bool exits;  /* the program's exit code counts beside what it says */
    void (*begin) (rota_conversation_t *self);
    /* False: the line isn't to be printed. */
    bool (*hear) (rota_conversation_t *self, json_t *message);
    /* Asks for an early end of the turn; false when there is none. */
    bool (*cancel) (rota_conversation_t *self);
    /* There is a word for the agent (rota_conversation_word): puts it to the agent, now or when it can. */
    void (*steer) (rota_conversation_t *self);
} rota_protocol_t;

/* Stages are gone through in this order; some may be left out. */
typedef enum {
    ROTA_CONVERSE_TALKING,
    ROTA_CONVERSE_CANCELLING,
    ROTA_CONVERSE_CLOSING,     /* its input is closed */
    ROTA_CONVERSE_TERMINATING, /* SIGTERM */
    ROTA_CONVERSE_KILLING,     /* SIGKILL */
    ROTA_CONVERSE_GONE,
} rota_converse_stage_t;

struct rota_conversation {
    const rota_protocol_t *protocol;
    rota_converse_options_t options;
    char directory[PATH_MAX]; /* without links in it */
    char *prompt;

    /* The protocol's. */
    int step;
    json_int_t awaited; /* id of the request whose answer brings the next step; 0 = none */
    int version;
    bool can_load, resumed;
    bool working, accepted, ran; /* the turn is asked for; the agent took it on; it said that it runs */
    int denied;                  /* permissions */
    json_t *session, *turn;      /* strings, or NULL */
    unsigned unheard;            /* words that the agent was told and has not taken up yet */
    bool steering;               /* the agent was asked to take the word, and has not answered yet */

    /* The loop's. */
    rota_converse_stage_t stage;
    int64_t deadline_ms; /* of the stage, on the monotonic clock; 0 = none */
    bool over;           /* the turn has an end, or something said why it has none */
    bool well, stopped;
    json_int_t last_id;
    pid_t pid;
    int wait_status;
    int input_fd, output_fd, signal_fd, tell_fd;
    json_t *word;     /* what a person has to say and the agent was not told yet, a string; or NULL */
    char *tell_bytes; /* of the next word, as far as it came */
    size_t tell_used;
    struct {
        char *bytes;
        size_t used, done, capacity;
    } queue; /* to the agent */
    struct {
        char *bytes;
        size_t used, capacity;
        bool too_long;
    } line; /* from it */
};

/* They take `message`, `params` and `result` over; NULL there (no memory, text that isn't UTF-8) ends the
 * conversation.
 */
void rota_conversation_send (rota_conversation_t *self, json_t *message);
void rota_conversation_request (rota_conversation_t *self, const char *method, json_t *params);
void rota_conversation_notify (rota_conversation_t *self, const char *method, json_t *params);
void rota_conversation_answer (rota_conversation_t *self, json_t *id, json_t *result);
void rota_conversation_refuse (rota_conversation_t *self, json_t *id, const char *method);

/* A line on standard output. */
void rota_conversation_print (const json_t *message);

/* What the agent is asked to do, a string; NULL on no memory. */
json_t *rota_conversation_prompt (rota_conversation_t *self);

/* What a person has to say to the agent: NULL = nothing. Borrowed. */
const char *rota_conversation_word (const rota_conversation_t *self);
/* It was told to the agent, or why not: says so in a line, and forgets it. */
void rota_conversation_told (rota_conversation_t *self);
void rota_conversation_untold (rota_conversation_t *self, const char *why);

/* The turn is over. */
void rota_conversation_end (rota_conversation_t *self, bool well);
__attribute__ ((format (printf, 2, 3))) void rota_conversation_fail (rota_conversation_t *self,
                                                                     const char *format, ...);
/* The session that was to be gone on with isn't there. */
void rota_conversation_lost_session (const rota_conversation_t *self, const json_t *error);

extern const rota_protocol_t ROTA_PROTOCOL_ACP, ROTA_PROTOCOL_CLAUDE, ROTA_PROTOCOL_CODEX;

#endif
