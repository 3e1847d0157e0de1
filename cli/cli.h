/* cli.h - what every verb of the command line is given, and the contract of its exit codes.
 *
 * One table (verbs.c) names each verb with its options, help and handler; dispatch (main.c), help, man page
 * and completion (help.c, completion.c) read it. A handler returns an exit code and prints for itself.
 *
 * Owner thread: the only one.
 */
#ifndef ROTA_CLI_H
#define ROTA_CLI_H

#include "cli/options.h"
#include "cli/render.h"

/* Design section 9: scripts rely on these. */
enum {
    ROTA_EXIT_DONE = 0,
    ROTA_EXIT_UNFINISHED = 1,  /* it ended, but a task failed, is blocked, unreachable or was cancelled */
    ROTA_EXIT_USAGE = 2,       /* bad usage or input; nothing changed */
    ROTA_EXIT_UNREACHABLE = 3, /* a service can't be reached */
    ROTA_EXIT_REFUSED = 4,     /* permission, stale, conflict, not in this state */
    ROTA_EXIT_HUMAN = 5,       /* only people are awaited */
    ROTA_EXIT_TIMEOUT = 6,     /* --timeout */
    ROTA_EXIT_INTERRUPTED = 130,
};

typedef enum {
    ROTA_GROUP_WORK,
    ROTA_GROUP_LOOK,
    ROTA_GROUP_TASK,
    ROTA_GROUP_SERVICES,
    ROTA_GROUP_STORE,
    ROTA_GROUP_ABOUT,
    ROTA_GROUP_HIDDEN,
    ROTA_GROUPS
} rota_group_t;

typedef struct rota_cli rota_cli_t;

typedef struct {
    const char *name;      /* "run"; two words for "store backup" */
    const char *alias;     /* another name, or NULL */
    const char *arguments; /* "[ROADMAP]", "" for none */
    const char *summary;   /* one line, no full stop */
    const char *description;
    const char *example;          /* lines of commands, or NULL */
    const rota_option_t *options; /* own ones; NULL = none */
    rota_group_t group;
    rota_complete_t complete;
    int least, most; /* arguments; most < 0 = any number */
    bool front;      /* on the front page */
    bool rest;       /* takes what follows "--" */
    int (*handler) (rota_cli_t *cli);
} rota_verb_t;

struct rota_cli {
    const rota_verb_t *verb;
    const rota_options_t *options;
    bool json;
    rota_screen_t out, err;
};

extern const rota_verb_t ROTA_VERBS[];
extern const size_t ROTA_VERB_COUNT;
extern const rota_option_t ROTA_COMMON_OPTIONS[];
extern const char *const ROTA_GROUP_TITLES[ROTA_GROUPS];

/* The verb that `arguments` begin with, and how many words it took; NULL when there is none. */
const rota_verb_t *rota_verb_find (size_t count, char *const *arguments, size_t *ret_words);
/* "; did you mean X?" for a verb that doesn't exist, "" when none is near. Returns ret_text. */
#define ROTA_GUESS_TEXT_BYTES 64
const char *rota_verb_guess (const char *word, char ret_text[ROTA_GUESS_TEXT_BYTES]);

/* "rota: ..." on standard error; control characters in it are made harmless. Returns `code`. */
__attribute__ ((format (printf, 2, 3))) int rota_cli_fail (int code, const char *format, ...);
/* The same without an exit code: something to know, not a failure. */
__attribute__ ((format (printf, 1, 2))) void rota_cli_note (const char *format, ...);
/* What was said last by one of these, cut; "" = nothing. For who answers somebody else than the terminal. */
#define ROTA_CLI_LAST_BYTES 1024
const char *rota_cli_last (void);

/* ---- help.c, completion.c */
void rota_help_front (FILE *stream, const rota_screen_t *screen);
void rota_help_all (FILE *stream, const rota_screen_t *screen);
void rota_help_verb (FILE *stream, const rota_screen_t *screen, const rota_verb_t *verb);
void rota_help_man (FILE *stream);
void rota_complete_bash (FILE *stream);
void rota_complete_zsh (FILE *stream);

#ifndef ROTA_VERSION
#define ROTA_VERSION "0.1.0"
#endif

/* ---- the handlers, by file */
int rota_verb_init (rota_cli_t *cli);
int rota_verb_validate (rota_cli_t *cli);
int rota_verb_import (rota_cli_t *cli);
int rota_verb_export (rota_cli_t *cli);
int rota_verb_run (rota_cli_t *cli);
int rota_verb_up (rota_cli_t *cli);
int rota_verb_down (rota_cli_t *cli);
int rota_verb_supervise (rota_cli_t *cli);
int rota_verb_submit (rota_cli_t *cli);
int rota_verb_wait (rota_cli_t *cli);
int rota_verb_status (rota_cli_t *cli);
int rota_verb_tasks (rota_cli_t *cli);
int rota_verb_task (rota_cli_t *cli);
int rota_verb_why (rota_cli_t *cli);
int rota_verb_diff (rota_cli_t *cli);
int rota_verb_review (rota_cli_t *cli);
int rota_verb_open (rota_cli_t *cli);
int rota_verb_merge (rota_cli_t *cli);
int rota_verb_log (rota_cli_t *cli);
int rota_verb_tell (rota_cli_t *cli);
int rota_verb_events (rota_cli_t *cli);
int rota_verb_agents (rota_cli_t *cli);
int rota_verb_leader (rota_cli_t *cli);
int rota_verb_coordinator (rota_cli_t *cli);
int rota_verb_budget (rota_cli_t *cli);
int rota_verb_health (rota_cli_t *cli);
int rota_verb_checkpoint (rota_cli_t *cli);
int rota_verb_limits (rota_cli_t *cli);
int rota_verb_context_add (rota_cli_t *cli);
int rota_verb_context_list (rota_cli_t *cli);
int rota_verb_context_show (rota_cli_t *cli);
int rota_verb_context_remove (rota_cli_t *cli);
int rota_verb_mcp (rota_cli_t *cli);
int rota_verb_doctor (rota_cli_t *cli);
int rota_verb_control (rota_cli_t *cli); /* cancel, retry, ... : control.c's table has one line for each */
int rota_verb_backup (rota_cli_t *cli);
int rota_verb_restore (rota_cli_t *cli);
int rota_verb_check (rota_cli_t *cli);
int rota_verb_key_new (rota_cli_t *cli);
int rota_verb_key_grant (rota_cli_t *cli);
int rota_verb_key_revoke (rota_cli_t *cli);
int rota_verb_key_list (rota_cli_t *cli);
int rota_verb_config (rota_cli_t *cli);
int rota_verb_completion (rota_cli_t *cli);
int rota_verb_man (rota_cli_t *cli);
int rota_verb_help (rota_cli_t *cli);

#endif
