/* ask.h - the program behind the kind `http`: asks a model API once, and prints what it answers.
 *
 * The prompt comes by standard input, everything else by the variables below, the key among them under the
 * name that its vendor gave it. It prints a JSON object a line (read_http.c reads them):
 *
 *     {"type": "begin", "api", "model"}
 *     {"type": "text", "text"}         a piece of the answer, as it comes
 *     {"type": "progress"}             the model is at work, but not on its text
 *     {"type": "result", "complete", "status", "model", "stop", "text_bytes", "error": {"type", "code",
 *      "message"}, "network", "problem", "until_ms", "window", "usage": {"input_tokens", "cached_tokens",
 *      "output_tokens"}, "cost_usd"}   the last line, with what is known of these
 *
 * and exits with 0 only when the answer came to its end. It never asks twice: the waiting is rota's.
 */
#ifndef ROTA_ASK_H
#define ROTA_ASK_H

#include "agents/answer.h"
#include "bus/error.h"

#define ROTA_ASK_OPTION "--ask"

#define ROTA_ASK_URL "ROTA_HTTP_URL"
#define ROTA_ASK_API "ROTA_HTTP_API" /* a word of rota_ask_api */
#define ROTA_ASK_MODEL "ROTA_HTTP_MODEL"
#define ROTA_ASK_MAX_TOKENS "ROTA_HTTP_MAX_TOKENS" /* 0 = the server's own */
#define ROTA_ASK_PLAIN "ROTA_HTTP_PLAIN"           /* "1": http beyond this host too */
#define ROTA_ASK_STALL_S "ROTA_HTTP_STALL"         /* seconds without a byte that end it, 0 = none do */

#define ROTA_ASK_ADDRESS_BYTES 2048

/* "anthropic", "chat" or "responses". */
const char *rota_ask_api_word (rota_api_t api);
/* The variable that holds the key for it. */
const char *rota_ask_key_name (rota_api_t api);

typedef struct {
    char address[ROTA_ASK_ADDRESS_BYTES]; /* with the API's path */
    bool local;                           /* on this host: needs no key, and goes by no proxy */
} rota_ask_target_t;

/* `url` is a base ("https://api.openai.com", ".../v1") or has the API's path already. 0, or -EINVAL with the
 * text: no URL, with a login in it, neither https nor (unless `plain`) http on this host. */
int rota_ask_target (const char *url, rota_api_t api, bool plain, rota_ask_target_t *ret_target,
                     rota_error_t *error);

/* Returns the status to exit with. */
int rota_ask (void);

#endif
