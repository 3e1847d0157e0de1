/* options.h - the options of a verb, described by a table and read from the arguments.
 *
 * The same table gives help, man page and completion (help.h). Values are checked while they are read, so a
 * handler never meets a number that is none.
 *
 * Owner thread: any, nothing shared. Values point into argv, which must outlive the result.
 */
#ifndef ROTA_OPTIONS_H
#define ROTA_OPTIONS_H

#include "bus/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    ROTA_OPTION_FLAG,
    ROTA_OPTION_TEXT,
    ROTA_OPTION_NUMBER,   /* a whole number */
    ROTA_OPTION_DURATION, /* as bus/units.h reads it: "90", "90s", "1h30m", "500ms" */
} rota_option_kind_t;

/* What a shell may offer after the option or as an argument. */
typedef enum {
    ROTA_COMPLETE_NOTHING,
    ROTA_COMPLETE_FILE,
    ROTA_COMPLETE_DIRECTORY,
    ROTA_COMPLETE_ROADMAP,
    ROTA_COMPLETE_TASK,
    ROTA_COMPLETE_STATUS,
    ROTA_COMPLETE_AGENT_KIND,
    ROTA_COMPLETE_VERB,
    ROTA_COMPLETE_SHELL,
} rota_complete_t;

typedef struct {
    const char *name; /* without the dashes */
    char letter;      /* 0 = none */
    rota_option_kind_t kind;
    const char *value; /* how the help calls it; NULL for flags */
    const char *help;  /* one line */
    rota_complete_t complete;
    bool repeated; /* may be given more than once; otherwise twice is a fault */
} rota_option_t;

#define ROTA_OPTION_END                                                                                      \
    {                                                                                                        \
        .name = NULL                                                                                         \
    }

typedef struct rota_options rota_options_t;

/* Reads `count` arguments against two tables, each ended by ROTA_OPTION_END (either may be NULL). Options and
 * arguments may be mixed; what follows "--" is kept apart. 0 and *ret_options (the caller destroys it), or
 * -EINVAL with a sentence that names the option and, where one is near, what may have been meant; -ENOMEM. */
int rota_options_parse (const rota_option_t *own, const rota_option_t *common, size_t count,
                        char *const *arguments, rota_options_t **ret_options, rota_error_t *error);
void rota_options_destroy (rota_options_t **self_p);

/* The name must be in a table (asserted). `absent` is returned where the option wasn't given. */
bool rota_options_flag (const rota_options_t *self, const char *name);
const char *rota_options_text (const rota_options_t *self, const char *name, const char *absent);
int64_t rota_options_number (const rota_options_t *self, const char *name, int64_t absent);
int64_t rota_options_duration_ms (const rota_options_t *self, const char *name, int64_t absent);
size_t rota_options_count (const rota_options_t *self, const char *name);
const char *rota_options_nth (const rota_options_t *self, const char *name, size_t index);

size_t rota_options_argument_count (const rota_options_t *self);
const char *rota_options_argument (const rota_options_t *self, size_t index); /* NULL past the end */
/* What stood after "--". */
size_t rota_options_rest_count (const rota_options_t *self);
char *const *rota_options_rest (const rota_options_t *self);

#endif
