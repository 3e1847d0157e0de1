/* answer.h - what a model API's answer says: the pieces of text, how it ended, what it used, what went wrong.
 *
 * For Anthropic Messages and OpenAI's chat completions and responses, as events of a stream (sse.h) or as the
 * body of an error. Bytes from outside: anything may be missing, of another type, or unknown.
 *
 * Owner: one thread at a time.
 */
#ifndef ROTA_ANSWER_H
#define ROTA_ANSWER_H

#include "agents/reading.h"

/* In the order of the words of the setting agents.http_api. */
typedef enum { ROTA_API_ANTHROPIC, ROTA_API_CHAT, ROTA_API_RESPONSES, ROTA_API_COUNT } rota_api_t;

#define ROTA_ANSWER_TEXT_BYTES 640

/* Zeroed at first, but for `api` and `now_ms`. */
typedef struct {
    rota_api_t api;
    int64_t now_ms; /* Unix */

    bool ended;    /* the model came to its end */
    bool finished; /* and nothing follows that matters */
    bool failed;   /* an error came, with what was said of it */
    uint64_t events, text_bytes;
    char model[64];
    char stop[64]; /* why it ended: "end_turn", "length", ...; "" = not said */
    char error_type[64], error_code[64], error_text[ROTA_ANSWER_TEXT_BYTES];
    int64_t until_ms;    /* of a limit, 0 = not said */
    rota_known_t input;  /* all tokens that went in, cached ones included */
    rota_known_t cached; /* of these */
    rota_known_t output; /* reasoning included */
    double cost_usd;     /* as the server says; negative or 0 = it doesn't */
} rota_answer_t;

/* A piece of the model's words, valid UTF-8. */
typedef void rota_answer_say_t (void *context, const char *text, size_t size_bytes);

/* The data of one event of the stream. */
void rota_answer_event (rota_answer_t *self, const char *data, size_t size_bytes, rota_answer_say_t *say,
                        void *context);
/* The body that came with an HTTP status which is an error. */
void rota_answer_error (rota_answer_t *self, const char *body, size_t size_bytes);

#endif
