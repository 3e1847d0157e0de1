/* reading.h - what an agent program said of its own work, read from the lines that it printed.
 *
 * A reader is a function which takes one line at a time and notes what it learns in a plain value without
 * pointers: it can be copied at any moment, and what it knows so far can be asked for as if the output ended
 * here. Readers are stateless otherwise, so that a host can read the output of an attempt which an earlier
 * host had started. Lines come from the program's standard output; they are material from outside: any bytes,
 * cut anywhere, unknown event types, new fields.
 *
 * Structure counts before sentences: codes, event types and HTTP status decide; only where there are none is
 * the text of an error (never an agent's prose) put to the rules of limits.h.
 *
 * Owner: the thread that reads.
 */
#ifndef ROTA_READING_H
#define ROTA_READING_H

#include "agents/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROTA_READING_MESSAGE_BYTES 768
#define ROTA_READING_SESSION_BYTES 128

/* A number that may be unknown, which is not 0. */
typedef struct {
    bool known;
    uint64_t value;
} rota_known_t;

typedef struct {
    rota_known_t input_tokens;  /* all that went in, cached ones included */
    rota_known_t output_tokens; /* reasoning included */
    rota_known_t cached_tokens; /* of the input, read from a cache */
    rota_known_t cost_nano_usd; /* 1e-9 dollars, as the program says */
    bool tokens_of_session;     /* counted since the session began, not since this attempt */
    bool cost_of_session;
} rota_reading_usage_t;

/* Where an agent's last words are wanted whole; the end counts when they are too long. */
#define ROTA_ANSWER_MAX_BYTES (256u << 10)
typedef struct {
    char *bytes; /* malloc'ed, NUL-terminated; NULL = none */
    size_t size_bytes;
} rota_last_words_t;

typedef struct {
    rota_limits_t *limits;     /* for sentences; may be NULL */
    rota_last_words_t *answer; /* or NULL: they aren't wanted */
    const void *description;   /* for readers that need one (described.h) */
    const char *zone;          /* of clock times that name none, for limits.h; NULL = the process's */
    int64_t now_ms;            /* Unix: what relative and clock times in sentences are counted from */

    bool began;     /* the program started a session */
    bool completed; /* it said that its work ended well; without this, exit code 0 is no success */
    bool interrupted;
    uint32_t denied;                /* tools that permissions kept it from using */
    uint32_t retries;               /* of its own */
    Rota__ResultClass result_class; /* what went wrong; UNSPECIFIED: nothing was said */
    Rota__LimitKind limit_kind;
    int64_t until_ms;                         /* Unix; 0 = not said */
    double used;                              /* share of the limit's window, 0..1; negative = not said */
    int64_t used_until_ms;                    /* when that window resets, 0 = not said */
    char window[32];                          /* its name ("five_hour", "primary", ...), "" = not said */
    char message[ROTA_READING_MESSAGE_BYTES]; /* the error, else the last words; UTF-8, no control characters
                                               */
    char remark[256]; /* the last line that is no event, beside the agent's words in message; "" = none */
    char session[ROTA_READING_SESSION_BYTES]; /* to resume, "" = none */
    char version[64];                         /* of the program, "" = not said */
    char model[64];
    rota_reading_usage_t usage;

    struct {            /* the readers' own */
        bool serves;    /* a server, which its client ends: how it ends says nothing of the work */
        bool may_pass;  /* what went wrong was one try of several: progress takes it back */
        bool exact;     /* until_ms was a number, not a sentence */
        bool speaking;  /* message[] gathers the pieces of what the agent says */
        uint8_t weight; /* of the evidence for result_class */
    } inner;
} rota_reading_t;

typedef void rota_reader_t (rota_reading_t *reading, const char *line, size_t size_bytes);

void rota_reading_init (rota_reading_t *reading, rota_limits_t *limits, int64_t now_ms);

/* Splits a stream into lines for a reader; a line over 4 MiB is passed over whole. 0, or -ENOMEM. */
typedef struct {
    char *bytes;
    size_t used, capacity;
    bool too_long;
} rota_lines_t;
int rota_lines_feed (rota_lines_t *self, const char *bytes, size_t size_bytes, rota_reader_t *reader,
                     rota_reading_t *reading);
/* The last line, which may have no end. Frees what the splitter held. */
void rota_lines_end (rota_lines_t *self, rota_reader_t *reader, rota_reading_t *reading);

/* What the attempt's class is in the end, from what was read and how the program ended (exit_code -1: by
 * `signal`). A program which says nothing of success is not believed; which says success and exits otherwise
 * neither, but for the servers (codex app-server, ACP): their turn ends within the conversation, and the end
 * of the process is their client's doing. */
typedef struct {
    Rota__ResultClass result_class;
    Rota__LimitKind limit_kind;
    int64_t until_ms;
    char message[ROTA_READING_MESSAGE_BYTES];
} rota_reading_verdict_t;
void rota_reading_judge (const rota_reading_t *reading, int exit_code, int signal,
                         rota_reading_verdict_t *ret_verdict);

rota_reader_t rota_read_claude;     /* claude -p --output-format stream-json, and json */
rota_reader_t rota_read_codex_exec; /* codex exec --json */
rota_reader_t rota_read_codex_rpc;  /* messages of codex app-server, one a line */
rota_reader_t rota_read_codex;      /* lines of either: an earlier host may have had other settings */
rota_reader_t rota_read_acp;        /* messages of an ACP agent, one a line */
rota_reader_t rota_read_http;       /* rota-agent --ask */

#endif
