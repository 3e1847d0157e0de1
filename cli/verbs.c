/* The table of verbs: the only place that knows them all. */
#include "bus/guess.h"
#include "cli/cli.h"

#include <string.h>

#define OPTION_AGENT                                                                                         \
    {                                                                                                        \
        .name = "agent", .letter = 'a', .kind = ROTA_OPTION_TEXT, .value = "KIND[/ACCOUNT][=N]",             \
        .help = "start an agent of this kind with N slots (default: exec, one slot a processor)",            \
        .complete = ROTA_COMPLETE_AGENT_KIND, .repeated = true                                               \
    }
#define OPTION_EXEC                                                                                          \
    {                                                                                                        \
        .name = "exec", .letter = 'e', .kind = ROTA_OPTION_TEXT, .value = "COMMAND",                         \
        .help = "shell command for tasks without run:; it finds the task in ROTA_TASK_ID, ROTA_TASK_TITLE"   \
    }
#define OPTION_TRUST                                                                                         \
    {                                                                                                        \
        .name = "trust-agents", .kind = ROTA_OPTION_FLAG,                                                    \
        .help = "agent programs may do what they like, without asking and without a sandbox"                 \
    }
#define OPTION_NO_AUTO_RESUME                                                                                \
    {                                                                                                        \
        .name = "no-auto-resume", .kind = ROTA_OPTION_FLAG,                                                  \
        .help = "what meets a limit waits for `rota resume`, so that nothing is paid for unattended"         \
    }
#define OPTION_COMMAND                                                                                       \
    {                                                                                                        \
        .name = "command", .kind = ROTA_OPTION_TEXT, .value = "COMMAND", .help = "the same as --exec"        \
    }
#define OPTION_STRICT                                                                                        \
    {                                                                                                        \
        .name = "strict", .kind = ROTA_OPTION_FLAG, .help = "unknown keys in the file are errors"            \
    }
#define OPTION_PRUNE                                                                                         \
    {                                                                                                        \
        .name = "prune", .kind = ROTA_OPTION_FLAG, .help = "cancel tasks that are gone from the file"        \
    }
#define OPTION_REASON                                                                                        \
    {                                                                                                        \
        .name = "reason", .letter = 'm', .kind = ROTA_OPTION_TEXT, .value = "TEXT",                          \
        .help = "why; kept with the task"                                                                    \
    }
#define OPTION_SOURCE                                                                                        \
    {                                                                                                        \
        .name = "source", .kind = ROTA_OPTION_TEXT, .value = "NAME",                                         \
        .help = "only what came from this roadmap (its name: or path; \"submit\" for submitted tasks)"       \
    }

#define OPTION_EPIC_OF_HEALTH                                                                                \
    {                                                                                                        \
        .name = "epic", .kind = ROTA_OPTION_TEXT, .value = "ID",                                             \
        .help = "the health of this epic or milestone", .complete = ROTA_COMPLETE_TASK                       \
    }

const rota_option_t ROTA_COMMON_OPTIONS[] = {
    {.name = "json", .kind = ROTA_OPTION_FLAG, .help = "one JSON document, or an object a line for streams"},
    {.name = "state",
     .kind = ROTA_OPTION_TEXT,
     .value = "DIR",
     .help = "state directory (default: .rota here or above, else at the root of the repository)",
     .complete = ROTA_COMPLETE_DIRECTORY},
    {.name = "broker",
     .kind = ROTA_OPTION_TEXT,
     .value = "ENDPOINT[,..]",
     .help = "talk to these brokers instead of those of the state directory"},
    {.name = "key",
     .kind = ROTA_OPTION_TEXT,
     .value = "FILE",
     .help = "our key for brokers on tcp (default: the setting security.key_file)",
     .complete = ROTA_COMPLETE_FILE},
    {.name = "insecure", .kind = ROTA_OPTION_FLAG, .help = "talk to brokers on tcp://127.0.0.1 without keys"},
    {.name = "connect-timeout",
     .kind = ROTA_OPTION_DURATION,
     .value = "S",
     .help = "how long to wait for the services (default: 10)"},
    {.name = "config",
     .kind = ROTA_OPTION_TEXT,
     .value = "FILE",
     .help = "settings (default: $ROTA_CONFIG, ./rota.yaml, /etc/rota/rota.yaml)",
     .complete = ROTA_COMPLETE_FILE},
    {.name = "help", .letter = 'h', .kind = ROTA_OPTION_FLAG, .help = "this help"},
    ROTA_OPTION_END};

static const rota_option_t INIT_OPTIONS[] = {
    {.name = "force", .kind = ROTA_OPTION_FLAG, .help = "replace the file if it is there"}, ROTA_OPTION_END};
static const rota_option_t VALIDATE_OPTIONS[] = {OPTION_STRICT, ROTA_OPTION_END};
static const rota_option_t IMPORT_OPTIONS[] = {
    {.name = "dry-run", .letter = 'n', .kind = ROTA_OPTION_FLAG, .help = "only show the difference"},
    OPTION_PRUNE,
    OPTION_STRICT,
    ROTA_OPTION_END};
static const rota_option_t EXPORT_OPTIONS[] = {OPTION_SOURCE, ROTA_OPTION_END};
static const rota_option_t CONFIG_OPTIONS[] = {
    {.name = "check", .kind = ROTA_OPTION_FLAG, .help = "only say whether they are right"}, ROTA_OPTION_END};
static const rota_option_t CHECKPOINT_OPTIONS[] = {
    {.name = "limit",
     .letter = 'n',
     .kind = ROTA_OPTION_NUMBER,
     .value = "N",
     .help = "at most so many, the newest first (default: 50)"},
    ROTA_OPTION_END};
static const rota_option_t HEALTH_OPTIONS[] = {OPTION_EPIC_OF_HEALTH, ROTA_OPTION_END};
static const rota_option_t BUDGET_OPTIONS[] = {
    {.name = "all", .kind = ROTA_OPTION_FLAG, .help = "what has no limit, too"}, ROTA_OPTION_END};
static const rota_option_t RUN_OPTIONS[] = {
    OPTION_AGENT,
    OPTION_EXEC,
    OPTION_COMMAND,
    OPTION_TRUST,
    OPTION_NO_AUTO_RESUME,
    {.name = "timeout",
     .kind = ROTA_OPTION_DURATION,
     .value = "S",
     .help = "give up after this long (exit 6); what runs is ended, the state is kept"},
    {.name = "dry-run",
     .letter = 'n',
     .kind = ROTA_OPTION_FLAG,
     .help = "show what would be worked and in which order; start nothing"},
    {.name = "detach",
     .letter = 'd',
     .kind = ROTA_OPTION_FLAG,
     .help = "start the services in the background, import, and return"},
    {.name = "wait-human",
     .kind = ROTA_OPTION_FLAG,
     .help = "wait for people too (the default in a terminal); otherwise exit 5"},
    {.name = "budget",
     .kind = ROTA_OPTION_TEXT,
     .value = "AMOUNT",
     .help =
         "what this run may spend: 5usd, 200ktokens, 20attempts; what is over waits for `rota budget raise`"},
    OPTION_PRUNE,
    OPTION_STRICT,
    ROTA_OPTION_END};
static const rota_option_t UP_OPTIONS[] = {OPTION_AGENT, OPTION_EXEC,           OPTION_COMMAND,
                                           OPTION_TRUST, OPTION_NO_AUTO_RESUME, ROTA_OPTION_END};
static const rota_option_t SUPERVISE_OPTIONS[] = {
    OPTION_AGENT,
    OPTION_EXEC,
    OPTION_TRUST,
    {.name = "services", .kind = ROTA_OPTION_TEXT, .value = "run|up|hold", .help = "what they are for"},
    ROTA_OPTION_END};
static const rota_option_t CONTEXT_ADD_OPTIONS[] = {
    {.name = "topic",
     .letter = 't',
     .kind = ROTA_OPTION_TEXT,
     .value = "TEXT",
     .help = "what it is about, in a few words"},
    {.name = "task",
     .kind = ROTA_OPTION_TEXT,
     .value = "ID",
     .help = "a task, epic or milestone that it is about; may be repeated",
     .complete = ROTA_COMPLETE_TASK,
     .repeated = true},
    {.name = "confidence", .kind = ROTA_OPTION_TEXT, .value = "C", .help = "how sure it is, 0 to 1"},
    ROTA_OPTION_END};
static const rota_option_t CONTEXT_LIST_OPTIONS[] = {
    {.name = "type",
     .kind = ROTA_OPTION_TEXT,
     .value = "TYPE",
     .help = "only decisions, constraints, learnings, questions or answers (`decision`, ...)"},
    {.name = "task",
     .kind = ROTA_OPTION_TEXT,
     .value = "ID",
     .help = "only what is about this task, epic or milestone",
     .complete = ROTA_COMPLETE_TASK},
    {.name = "search", .kind = ROTA_OPTION_TEXT, .value = "WORD", .help = "only what has this word in it"},
    {.name = "limit",
     .letter = 'n',
     .kind = ROTA_OPTION_NUMBER,
     .value = "N",
     .help = "at most so many, the newest first (default: 50)"},
    ROTA_OPTION_END};
static const rota_option_t MCP_OPTIONS[] = {
    {.name = "allow",
     .kind = ROTA_OPTION_TEXT,
     .value = "WHAT",
     .help = "more than looking and notes: submit (tasks, which run commands), answer (questions), review "
             "(approve, reject)",
     .repeated = true},
    {.name = "read-only", .kind = ROTA_OPTION_FLAG, .help = "no notes either"},
    ROTA_OPTION_END};
static const rota_option_t SUBMIT_OPTIONS[] = {
    {.name = "id", .kind = ROTA_OPTION_TEXT, .value = "ID", .help = "the task's id (default: a new one)"},
    {.name = "title", .letter = 't', .kind = ROTA_OPTION_TEXT, .value = "TEXT", .help = "what it is"},
    {.name = "after",
     .kind = ROTA_OPTION_TEXT,
     .value = "ID",
     .help = "wait for this task or group; may be repeated",
     .complete = ROTA_COMPLETE_TASK,
     .repeated = true},
    {.name = "priority",
     .letter = 'p',
     .kind = ROTA_OPTION_TEXT,
     .value = "P",
     .help = "critical, high, normal, low, or -1000..1000"},
    {.name = "agent",
     .letter = 'a',
     .kind = ROTA_OPTION_TEXT,
     .value = "KIND",
     .help = "who is to take it",
     .complete = ROTA_COMPLETE_AGENT_KIND},
    {.name = "timeout", .kind = ROTA_OPTION_DURATION, .value = "S", .help = "end an attempt after this long"},
    {.name = "attempts", .kind = ROTA_OPTION_NUMBER, .value = "N", .help = "how often it may be tried"},
    {.name = "wait",
     .letter = 'w',
     .kind = ROTA_OPTION_FLAG,
     .help = "wait for its end; without services, work it here and now"},
    ROTA_OPTION_END};
static const rota_option_t WAIT_OPTIONS[] = {{.name = "timeout",
                                              .kind = ROTA_OPTION_DURATION,
                                              .value = "S",
                                              .help = "give up after this long (exit 6)"},
                                             ROTA_OPTION_END};
static const rota_option_t STATUS_OPTIONS[] = {
    OPTION_SOURCE,
    {.name = "watch",
     .letter = 'w',
     .kind = ROTA_OPTION_FLAG,
     .help = "again whenever something has changed, every 2 s at most, until Ctrl-C"},
    OPTION_EPIC_OF_HEALTH,
    {.name = "health", .kind = ROTA_OPTION_FLAG, .help = "how things go (as `rota health`)"},
    {.name = "leader",
     .kind = ROTA_OPTION_FLAG,
     .help = "who routes, and who is connected (as `rota leader`)"},
    ROTA_OPTION_END};
static const rota_option_t LIMITS_OPTIONS[] = {
    {.name = "rules",
     .kind = ROTA_OPTION_TEXT,
     .value = "RULES",
     .help = "rules to try (default: the setting agents.limits, else those built in)",
     .complete = ROTA_COMPLETE_FILE},
    {.name = "provider",
     .kind = ROTA_OPTION_TEXT,
     .value = "KIND",
     .help = "whose texts they are: claude, codex, ..."},
    {.name = "zone",
     .kind = ROTA_OPTION_TEXT,
     .value = "ZONE",
     .help = "time zone of clock times that name none (default: this host's)"},
    ROTA_OPTION_END};
static const rota_option_t TASKS_OPTIONS[] = {
    {.name = "status",
     .letter = 's',
     .kind = ROTA_OPTION_TEXT,
     .value = "STATUS",
     .help = "only these: pending, in_progress, done, failed, blocked, ...; may be repeated",
     .complete = ROTA_COMPLETE_STATUS,
     .repeated = true},
    {.name = "in",
     .kind = ROTA_OPTION_TEXT,
     .value = "GROUP",
     .help = "only members of this epic or milestone",
     .complete = ROTA_COMPLETE_TASK},
    {.name = "epic", .kind = ROTA_OPTION_TEXT, .value = "GROUP", .help = "the same as --in"},
    OPTION_SOURCE,
    ROTA_OPTION_END};
static const rota_option_t LOG_OPTIONS[] = {
    {.name = "follow", .letter = 'f', .kind = ROTA_OPTION_FLAG, .help = "go on until the attempt ends"},
    {.name = "attempt",
     .kind = ROTA_OPTION_NUMBER,
     .value = "N",
     .help = "the output of this attempt (default: the newest)"},
    {.name = "tail",
     .letter = 'n',
     .kind = ROTA_OPTION_NUMBER,
     .value = "LINES",
     .help = "only the last lines of what is there"},
    ROTA_OPTION_END};
static const rota_option_t EVENTS_OPTIONS[] = {
    {.name = "follow", .letter = 'f', .kind = ROTA_OPTION_FLAG, .help = "go on as they happen"},
    {.name = "after", .kind = ROTA_OPTION_NUMBER, .value = "N", .help = "only those with a greater number"},
    {.name = "tail", .letter = 'n', .kind = ROTA_OPTION_NUMBER, .value = "N", .help = "only the last N"},
    {.name = "task",
     .kind = ROTA_OPTION_TEXT,
     .value = "ID",
     .help = "only those of this task",
     .complete = ROTA_COMPLETE_TASK},
    ROTA_OPTION_END};
static const rota_option_t DIFF_OPTIONS[] = {
    {.name = "stat", .kind = ROTA_OPTION_FLAG, .help = "only which files, and how much"}, ROTA_OPTION_END};
static const rota_option_t REASON_OPTIONS[] = {OPTION_REASON, ROTA_OPTION_END};
static const rota_option_t CANCEL_OPTIONS[] = {
    {.name = "skip", .kind = ROTA_OPTION_FLAG, .help = "what waits for it may go on, as if it were done"},
    OPTION_REASON,
    ROTA_OPTION_END};

static const rota_option_t KEY_NEW_OPTIONS[] = {
    {.name = "out",
     .letter = 'o',
     .kind = ROTA_OPTION_TEXT,
     .value = "FILE",
     .help = "write it there (default: NAME.key in the directory of keys)",
     .complete = ROTA_COMPLETE_FILE},
    {.name = "force", .kind = ROTA_OPTION_FLAG, .help = "replace the key that is there"},
    ROTA_OPTION_END};
static const rota_option_t KEY_GRANT_OPTIONS[] = {
    {.name = "name",
     .kind = ROTA_OPTION_TEXT,
     .value = "NAME",
     .help = "what to call a key that was given by its digits"},
    {.name = "agents",
     .kind = ROTA_OPTION_TEXT,
     .value = "PATTERN[,..]",
     .help = "what agents with this key may be called, * for any part "
             "(default: as the key, or KIND@ and that)"},
    ROTA_OPTION_END};

const char *const ROTA_GROUP_TITLES[ROTA_GROUPS] = {
    [ROTA_GROUP_WORK] = "Roadmaps",     [ROTA_GROUP_LOOK] = "Looking",
    [ROTA_GROUP_TASK] = "Single tasks", [ROTA_GROUP_SERVICES] = "The whole",
    [ROTA_GROUP_STORE] = "The store",   [ROTA_GROUP_ABOUT] = "About rota",
    [ROTA_GROUP_HIDDEN] = "",
};

#define TASK_VERB(verb_name, on_front, verb_arguments, at_least, at_most, verb_options, verb_summary,        \
                  verb_description)                                                                          \
    {                                                                                                        \
        .name = verb_name, .group = ROTA_GROUP_TASK, .front = on_front, .arguments = verb_arguments,         \
        .least = at_least, .most = at_most, .summary = verb_summary, .description = verb_description,        \
        .complete = ROTA_COMPLETE_TASK, .options = verb_options, .handler = rota_verb_control                \
    }

const rota_verb_t ROTA_VERBS[] = {
    {.name = "init",
     .group = ROTA_GROUP_WORK,
     .front = true,
     .arguments = "[FILE]",
     .most = 1,
     .summary = "write a commented roadmap.yaml to start from",
     .description = "Writes a small roadmap that explains itself and runs as it is. FILE is roadmap.yaml by "
                    "default; a file that is there is left alone unless --force says otherwise.",
     .example = "rota init\nrota run",
     .complete = ROTA_COMPLETE_FILE,
     .options = INIT_OPTIONS,
     .handler = rota_verb_init},
    {.name = "run",
     .group = ROTA_GROUP_WORK,
     .front = true,
     .arguments = "[ROADMAP]",
     .most = 1,
     .summary = "work a roadmap to its end; again = go on where it stopped",
     .description =
         "Reads ROADMAP (default: roadmap.yaml), starts the services if they don't run, imports it, shows "
         "the "
         "progress until nothing of it can go on, prints a summary and stops what it has started. Running it "
         "again goes on where it stopped: what is done stays done.\n"
         "Ctrl-C once: nothing new is started and what runs has 30 s to finish. Twice: what runs is killed. "
         "Three times: leave at once. The state is kept each time.\n"
         "Exit codes: 0 all done; 1 something failed, is blocked, unreachable or was cancelled; 2 the "
         "roadmap "
         "or the usage is wrong, nothing was started; 3 the services could not be started; 5 only people are "
         "awaited; 6 --timeout; 130 interrupted.",
     .example = "rota run\nrota run examples/demo.yaml --agent exec=4\n"
                "rota run plan.yaml --exec 'printf \"%s\\n\" \"$ROTA_TASK_TITLE\"'",
     .complete = ROTA_COMPLETE_ROADMAP,
     .options = RUN_OPTIONS,
     .handler = rota_verb_run},
    {.name = "validate",
     .group = ROTA_GROUP_WORK,
     .arguments = "[ROADMAP]...",
     .most = -1,
     .summary = "show every fault of a roadmap with file:line:column",
     .description =
         "Reads each ROADMAP (default: roadmap.yaml) and prints what is wrong and where; nothing is "
         "started or changed. Exit code 2 if there is an error in any.",
     .example = "rota validate roadmap.yaml",
     .complete = ROTA_COMPLETE_ROADMAP,
     .options = VALIDATE_OPTIONS,
     .handler = rota_verb_validate},
    {.name = "import",
     .group = ROTA_GROUP_WORK,
     .arguments = "[ROADMAP]",
     .most = 1,
     .summary = "add and update definitions from a roadmap; print the difference",
     .description =
         "The live status of tasks is never overwritten. A task that is gone from the file is kept "
         "and marked orphaned, unless --prune cancels it. All of the file is taken, or nothing.",
     .example = "rota import roadmap.yaml --dry-run",
     .complete = ROTA_COMPLETE_ROADMAP,
     .options = IMPORT_OPTIONS,
     .handler = rota_verb_import},
    {.name = "export",
     .group = ROTA_GROUP_WORK,
     .arguments = "[FILE]",
     .most = 1,
     .summary = "write the roadmap with its live status, in the same format",
     .description = "To FILE, which is replaced as a whole or not at all, else to standard output. Importing "
                    "it again changes nothing.",
     .example = "rota export now.yaml",
     .complete = ROTA_COMPLETE_FILE,
     .options = EXPORT_OPTIONS,
     .handler = rota_verb_export},
    {.name = "submit",
     .group = ROTA_GROUP_WORK,
     .arguments = "-- COMMAND...",
     .most = -1,
     .rest = true,
     .summary = "add one command as a task",
     .description =
         "COMMAND runs in the current directory; its words reach the shell as they are given here. "
         "One word alone is taken as a whole shell line. Prints the id.",
     .example =
         "rota submit -- make -j4\nrota submit --after build --title 'all tests' -- 'make check | tail'",
     .options = SUBMIT_OPTIONS,
     .handler = rota_verb_submit},
    {.name = "status",
     .group = ROTA_GROUP_LOOK,
     .front = true,
     .arguments = "",
     .summary = "how far it is, what runs, what waits and why",
     .description = "",
     .options = STATUS_OPTIONS,
     .handler = rota_verb_status},
    {.name = "tasks",
     .group = ROTA_GROUP_LOOK,
     .arguments = "[ID]...",
     .most = -1,
     .summary = "list tasks with their status",
     .description = "",
     .example = "rota tasks --status failed --status blocked\nrota tasks --in storage",
     .complete = ROTA_COMPLETE_TASK,
     .options = TASKS_OPTIONS,
     .handler = rota_verb_tasks},
    {.name = "task",
     .alias = "show",
     .group = ROTA_GROUP_LOOK,
     .arguments = "ID",
     .least = 1,
     .most = 1,
     .summary = "all about one task: definition, attempts, history",
     .description = "",
     .complete = ROTA_COMPLETE_TASK,
     .handler = rota_verb_task},
    {.name = "attempts",
     .group = ROTA_GROUP_LOOK,
     .arguments = "ID",
     .least = 1,
     .most = 1,
     .summary = "the attempts at one task, its gates, reviews and merges too",
     .description = "",
     .complete = ROTA_COMPLETE_TASK,
     .handler = rota_verb_task},
    {.name = "why",
     .group = ROTA_GROUP_LOOK,
     .front = true,
     .arguments = "ID",
     .least = 1,
     .most = 1,
     .summary = "why a task is where it is, and what would move it",
     .description = "",
     .complete = ROTA_COMPLETE_TASK,
     .handler = rota_verb_why},
    {.name = "diff",
     .group = ROTA_GROUP_LOOK,
     .front = true,
     .arguments = "ID",
     .least = 1,
     .most = 1,
     .summary = "what a task changed in the repository",
     .description = "The difference of its newest attempt that left work, by `git diff`, merged or not.",
     .example = "rota diff schema\nrota diff schema --stat",
     .complete = ROTA_COMPLETE_TASK,
     .options = DIFF_OPTIONS,
     .handler = rota_verb_diff},
    {.name = "review",
     .group = ROTA_GROUP_LOOK,
     .arguments = "ID",
     .least = 1,
     .most = 1,
     .summary = "what gates and reviewers said of a task",
     .description = "",
     .complete = ROTA_COMPLETE_TASK,
     .handler = rota_verb_review},
    {.name = "open",
     .group = ROTA_GROUP_LOOK,
     .arguments = "ID",
     .least = 1,
     .most = 1,
     .summary = "where the clone is that an agent works in now",
     .description = "",
     .example = "cd \"$(rota open schema)\"",
     .complete = ROTA_COMPLETE_TASK,
     .handler = rota_verb_open},
    {.name = "context show",
     .group = ROTA_GROUP_LOOK,
     .arguments = "ID",
     .least = 1,
     .most = 1,
     .summary = "what an agent would be told of a task now, word for word",
     .description =
         "The task, what the store knows (answers, what went wrong before, dependencies, constraints, "
         "decisions, learnings), and what its repository knows where that is on this machine. Only the "
         "word that marks the beginning and end of the context is another for each attempt.",
     .example = "rota context show api",
     .complete = ROTA_COMPLETE_TASK,
     .handler = rota_verb_context_show},
    {.name = "context list",
     .group = ROTA_GROUP_LOOK,
     .arguments = "",
     .summary = "decisions, constraints, learnings, questions and answers, the newest first",
     .description = "",
     .example = "rota context list --type decision --task api",
     .options = CONTEXT_LIST_OPTIONS,
     .handler = rota_verb_context_list},
    {.name = "context add",
     .group = ROTA_GROUP_TASK,
     .arguments = "decision|constraint|learning TEXT",
     .least = 2,
     .most = 2,
     .summary = "write down something that agents are to be told",
     .description =
         "Agents whose task is related, or shares words with it, are told; constraints and what is new "
         "come first. The same text again makes the entry newer.",
     .example = "rota context add constraint \"No new dependencies.\"\n"
                "rota context add decision --task api --topic storage \"SQLite with one writer\"",
     .options = CONTEXT_ADD_OPTIONS,
     .handler = rota_verb_context_add},
    {.name = "context remove",
     .group = ROTA_GROUP_TASK,
     .arguments = "NUMBER...",
     .least = 1,
     .most = -1,
     .summary = "forget entries, by their numbers in `rota context list`",
     .description = "",
     .example = "rota context remove 12",
     .handler = rota_verb_context_remove},
    {.name = "mcp",
     .group = ROTA_GROUP_LOOK,
     .arguments = "",
     .summary = "tools for AI programs: a server of the Model Context Protocol on standard input and output",
     .description =
         "Add it to a client as the command `rota mcp` (docs/mcp.md). It looks: status, tasks, what holds "
         "one "
         "up, output, agents, context; and it writes down notes for agents. The services are asked for each "
         "call and needn't run before. Within an attempt it is the agent's own: its task, what it was told, "
         "its notes, a question; nothing else, whatever is allowed here.",
     .example = "claude mcp add rota -- rota mcp\ncodex mcp add rota -- rota mcp --read-only",
     .options = MCP_OPTIONS,
     .handler = rota_verb_mcp},
    {.name = "log",
     .group = ROTA_GROUP_LOOK,
     .front = true,
     .arguments = "ID",
     .least = 1,
     .most = 1,
     .summary = "the output of a task; -f follows it",
     .description =
         "In a terminal, control characters of the output are made harmless; a pipe gets the bytes "
         "as they are. Where the middle of a long output was dropped, a line says how much.",
     .complete = ROTA_COMPLETE_TASK,
     .options = LOG_OPTIONS,
     .handler = rota_verb_log},
    {.name = "events",
     .group = ROTA_GROUP_LOOK,
     .arguments = "",
     .summary = "what happened, from the event log; -f follows it",
     .description =
         "Each event has a number; with --after a reader goes on where it stopped, and none is left "
         "out.",
     .example = "rota events --tail 20\nrota events -f --json",
     .options = EVENTS_OPTIONS,
     .handler = rota_verb_events},
    {.name = "wait",
     .group = ROTA_GROUP_LOOK,
     .arguments = "ID...",
     .least = 1,
     .most = -1,
     .summary = "wait until tasks are settled; exit code as for run",
     .description = "",
     .complete = ROTA_COMPLETE_TASK,
     .options = WAIT_OPTIONS,
     .handler = rota_verb_wait},
    {.name = "agents",
     .group = ROTA_GROUP_LOOK,
     .arguments = "[add KIND[/ACCOUNT][=N]... | drain NAME... | remove NAME...]",
     .most = -1,
     .summary = "who takes work, and what they do now; or start and end some",
     .description = "Without arguments lists the agents: busy slots, what they did, what they used today, "
                    "why one rests or "
                    "can't work. `add` starts more under the services that run here, `drain` lets one finish "
                    "and take no "
                    "more (`rota resume NAME` takes that back), `remove` ends one that was started here: "
                    "what it runs goes "
                    "back to where it came from.",
     .example = "rota agents add claude=2\nrota agents remove claude@host",
     .handler = rota_verb_agents},
    {.name = "leader",
     .group = ROTA_GROUP_LOOK,
     .arguments = "",
     .summary = "the broker that routes, and who is connected to it",
     .description = "",
     .handler = rota_verb_leader},
    {.name = "coordinator",
     .group = ROTA_GROUP_LOOK,
     .arguments = "[transfer AGENT | step-down]",
     .summary = "the agent that judges work and gets the complex tasks; `transfer` gives the role by hand",
     .description =
         "Says who has the role, since when and why, and of each candidate why it could or could not "
         "have it. The leading broker elects: another one at once when the holder meets a limit, is "
         "gone or drains, and a preferred one (scheduler.prefer_complex) again after it was fit for "
         "scheduler.failback. `transfer` gives the role to AGENT until that one is unfit; "
         "`step-down` makes the holder no candidate for that time.",
     .example = "rota coordinator\nrota coordinator transfer codex@host",
     .most = 2,
     .handler = rota_verb_coordinator},
    {.name = "health",
     .group = ROTA_GROUP_LOOK,
     .arguments = "",
     .summary = "how things go: parts of all tasks, failures, throughput, quality, the mode and why",
     .description = "Of late means that what happened counts half after scheduler.mode_half_life. The mode "
                    "orders the work: "
                    "stabilize brings what was begun to its end first and begins less at once, accelerate "
                    "puts new and small "
                    "work forward, balance does neither; it follows from what agents (not commands) did of "
                    "late, or from "
                    "the setting scheduler.mode.",
     .example = "rota health\nrota health --epic storage --json",
     .options = HEALTH_OPTIONS,
     .handler = rota_verb_health},
    {.name = "budget",
     .group = ROTA_GROUP_LOOK,
     .arguments = "[set SCOPE LIMIT... | raise SCOPE LIMIT... | remove SCOPE [LIMIT...]]",
     .summary = "what may be spent, what was, and what is reserved; limits set, raised, removed",
     .description =
         "SCOPE is all, kind/NAME, account/NAME, agent/NAME, source/NAME, epic/ID or task/ID; * as the name "
         "means each one. LIMIT is usd, tokens or attempts, alone (in all) or with _per_hour or _per_day "
         "(UTC): usd_per_day=20, tokens=5M, attempts_per_day=10; window_share=80% of an account's "
         "subscription; policy=stop ends running work at the limit, policy=finish doesn't. `raise` never "
         "lowers; usd=+5 adds. At a limit nothing new of its scope is begun until the next hour or day, or "
         "until it is raised; other work goes on.",
     .example = "rota budget\nrota budget set kind/claude usd_per_day=20 usd_per_hour=4\n"
                "rota budget raise all usd=+5",
     .most = -1,
     .options = BUDGET_OPTIONS,
     .handler = rota_verb_budget},
    {.name = "doctor",
     .group = ROTA_GROUP_LOOK,
     .arguments = "",
     .summary = "what there is to work with, what is missing, and the remedy",
     .description = "Looks at the settings, the state directory and its disk, the agent programs with their "
                    "versions and "
                    "logins, git and the kernel's help; changes nothing and needs no service. Exit code 1 if "
                    "something keeps rota from working; an agent program that isn't there is none of that.",
     .handler = rota_verb_doctor},
    {.name = "limits",
     .group = ROTA_GROUP_LOOK,
     .arguments = "test FILE",
     .least = 2,
     .most = 2,
     .summary = "show what rota makes of the texts of errors, and until when a limit holds",
     .description =
         "Each line of FILE (- is standard input) is put to the rules that tell a limit from a failure: its "
         "class, its kind, the time until which it holds, and the rule. Needs no service.",
     .example = "echo 'Rate limited, try again in 20s' | rota limits test -",
     .complete = ROTA_COMPLETE_FILE,
     .options = LIMITS_OPTIONS,
     .handler = rota_verb_limits},

    {.name = "merge",
     .group = ROTA_GROUP_WORK,
     .front = true,
     .arguments = "[BRANCH]",
     .most = 1,
     .summary = "take the work that was merged into rota/BRANCH",
     .description =
         "rota merges approved work into a branch of its own, rota/BRANCH, and leaves your checkout alone. "
         "This "
         "brings the branch that is checked out here up to it (fast forward). It refuses when something is "
         "not committed, and when the two have parted: then `git merge rota/BRANCH` does it.",
     .example = "git log main..rota/main\nrota merge",
     .handler = rota_verb_merge},

    TASK_VERB ("retry", true, "ID...", 1, -1, REASON_OPTIONS, "try a failed or cancelled task again",
               "It gets its attempts anew and waits its turn; what is unreachable behind it waits for it "
               "again."),
    TASK_VERB ("approve", true, "ID...", 1, -1, REASON_OPTIONS,
               "let a task go on that awaits approval or review", ""),
    TASK_VERB ("reject", false, "ID...", 1, -1, REASON_OPTIONS,
               "send a task back that awaits approval or review", "--reason reaches whoever takes it next."),
    TASK_VERB ("answer", true, "ID TEXT", 2, 2, NULL, "answer what a task asked", ""),
    {.name = "tell",
     .group = ROTA_GROUP_TASK,
     .arguments = "ID TEXT|-",
     .least = 2,
     .most = 2,
     .summary = "tell the agent that works on a task something it should know now",
     .description =
         "The kinds acp and codex take it in the middle of their work; others refuse it. With - the text is "
         "read from standard input.",
     .complete = ROTA_COMPLETE_TASK,
     .handler = rota_verb_tell},
    TASK_VERB ("cancel", false, "ID...", 1, -1, CANCEL_OPTIONS, "give a task up; what runs is ended",
               "What waits for it can't be reached any more, unless --skip lets it go on."),
    TASK_VERB ("reopen", false, "ID...", 1, -1, REASON_OPTIONS, "work a task again that is done", ""),
    TASK_VERB ("hold", false, "ID...", 1, -1, REASON_OPTIONS, "block a task until it is released", ""),
    TASK_VERB ("release", false, "ID...", 1, -1, NULL, "let a blocked task go on", ""),
    TASK_VERB ("priority", false, "ID P", 2, 2, NULL, "change a priority",
               "P is critical, high, normal, low, or a number from -1000 to 1000; higher goes first."),

    {.name = "stop",
     .group = ROTA_GROUP_SERVICES,
     .front = true,
     .arguments = "",
     .summary = "end what runs and hand nothing out until `rota resume`",
     .description =
         "Work that is ended goes back to where it came from and uses no attempt. The services stay "
         "up; `rota down` ends them.",
     .handler = rota_verb_control},
    {.name = "pause",
     .group = ROTA_GROUP_SERVICES,
     .arguments = "",
     .summary = "hand nothing out; what runs goes on",
     .description = "",
     .handler = rota_verb_control},
    {.name = "resume",
     .group = ROTA_GROUP_SERVICES,
     .arguments = "[AGENT]...",
     .most = -1,
     .summary = "hand out again after pause, stop or drain",
     .description = "To all, or to the agents named.",
     .handler = rota_verb_control},
    {.name = "drain",
     .group = ROTA_GROUP_SERVICES,
     .arguments = "[AGENT]...",
     .most = -1,
     .summary = "agents finish what they have and take no more",
     .description = "All of them, or those named.",
     .handler = rota_verb_control},
    {.name = "up",
     .group = ROTA_GROUP_SERVICES,
     .arguments = "",
     .summary = "start the services in the background",
     .description = "They work what is there and what is added, until `rota down`.",
     .example = "rota up --agent exec=4\nrota import roadmap.yaml",
     .options = UP_OPTIONS,
     .handler = rota_verb_up},
    {.name = "down",
     .group = ROTA_GROUP_SERVICES,
     .arguments = "",
     .summary = "stop the services in the background",
     .description = "What runs is ended and goes back to where it came from; the state is kept.",
     .handler = rota_verb_down},
    {.name = "supervise",
     .group = ROTA_GROUP_HIDDEN,
     .arguments = "",
     .summary = "keep the services of a state directory running (used by run and up)",
     .description = "",
     .options = SUPERVISE_OPTIONS,
     .handler = rota_verb_supervise},

    {.name = "store backup",
     .alias = "backup",
     .group = ROTA_GROUP_STORE,
     .arguments = "FILE",
     .least = 1,
     .most = 1,
     .summary = "copy the store to a file, also while it is in use",
     .description = "The file appears whole or not at all.",
     .complete = ROTA_COMPLETE_FILE,
     .handler = rota_verb_backup},
    {.name = "store restore",
     .alias = "restore",
     .group = ROTA_GROUP_STORE,
     .arguments = "FILE",
     .least = 1,
     .most = 1,
     .summary = "put a backup in the store's place",
     .description =
         "The services must be down. The store that was there is kept beside it. Results of attempts "
         "that the backup doesn't know are not accepted by themselves.",
     .complete = ROTA_COMPLETE_FILE,
     .handler = rota_verb_restore},
    {.name = "store check",
     .alias = "check",
     .group = ROTA_GROUP_STORE,
     .arguments = "",
     .summary = "verify the store: graph, moves, leases, events against rows",
     .description = "Exit code 1 if something is wrong.",
     .handler = rota_verb_check},

    {.name = "store checkpoint",
     .alias = "checkpoint",
     .group = ROTA_GROUP_STORE,
     .arguments = "[list | show ID | restore ID]",
     .most = 2,
     .summary = "keep the essential state at this moment, list what is kept, read it, go back to it",
     .description =
         "Counts, what runs, what rests, who coordinates, what was spent, pauses and priorities, in less "
         "than "
         "4 KiB. One is taken by itself when an agent meets its context limit, and before `import --prune`, "
         "`restore` and the removal of old events. `restore` brings back pauses, draining agents, priorities "
         "of "
         "tasks that have not ended, accounts that wait for `rota resume` and a coordinator given by hand, "
         "and "
         "says what it brought back and what not; what tasks have come to never goes backwards.",
     .example = "rota checkpoint\nrota checkpoint list\nrota checkpoint show 3\nrota checkpoint restore 3",
     .options = CHECKPOINT_OPTIONS,
     .handler = rota_verb_checkpoint},

    {.name = "key new",
     .alias = "keygen",
     .group = ROTA_GROUP_SERVICES,
     .arguments = "NAME",
     .least = 1,
     .most = 1,
     .summary = "make a key for a peer on another host",
     .description =
         "Writes the secret key to NAME.key in the directory of keys (security.keys_dir, else keys in the "
         "state directory), closed to other users, and prints the public key. What it may do is said on the "
         "broker's host with `rota key grant`.",
     .example = "rota key new worker-7\nrota key new alice --out ~/.config/rota.key",
     .options = KEY_NEW_OPTIONS,
     .handler = rota_verb_key_new},
    {.name = "key grant",
     .alias = "grant",
     .group = ROTA_GROUP_SERVICES,
     .arguments = "NAME|PUBLICKEY ROLE...",
     .least = 2,
     .most = 9,
     .summary = "let a key in, as one of these roles; on the broker's host",
     .description =
         "ROLE is read, submit, operate or admin for people (each includes those before it), agent, "
         "scheduler, sink or broker for services. submit and more mean that commands are run. It holds from "
         "the next message on; roles that are not named again are taken back.",
     .example = "rota key grant 9c1f...e2 agent --name worker-7\nrota key grant gpu agent --agents "
                "'gpu-*'\nrota key "
                "grant alice operate",
     .options = KEY_GRANT_OPTIONS,
     .handler = rota_verb_key_grant},
    {.name = "key revoke",
     .alias = "revoke",
     .group = ROTA_GROUP_SERVICES,
     .arguments = "NAME|PUBLICKEY...",
     .least = 1,
     .most = -1,
     .summary = "let a key in no more, and end its connections",
     .description = "It holds from the next message on. Work that an agent with that key has is given to "
                    "others when its lease has run out.",
     .handler = rota_verb_key_revoke},
    {.name = "key list",
     .alias = "keys",
     .group = ROTA_GROUP_SERVICES,
     .arguments = "",
     .summary = "the broker's public key, and whose keys may do what",
     .description = "Exit code 4 if a file there is refused, and so grants nothing.",
     .handler = rota_verb_key_list},

    {.name = "config",
     .group = ROTA_GROUP_ABOUT,
     .arguments = "",
     .summary = "the settings in force, and where each comes from",
     .description =
         "Exit code 2 if the settings file has a fault. Every program has it as --check-config and "
         "--print-config.",
     .options = CONFIG_OPTIONS,
     .handler = rota_verb_config},
    {.name = "completion",
     .group = ROTA_GROUP_ABOUT,
     .arguments = "bash|zsh",
     .least = 1,
     .most = 1,
     .summary = "a completion script for the shell",
     .description = "",
     .example = "rota completion bash > ~/.local/share/bash-completion/completions/rota\n"
                "rota completion zsh > ~/.zfunc/_rota",
     .complete = ROTA_COMPLETE_SHELL,
     .handler = rota_verb_completion},
    {.name = "man",
     .group = ROTA_GROUP_ABOUT,
     .arguments = "",
     .summary = "the manual page, as roff",
     .description = "",
     .example = "rota man | man -l -",
     .handler = rota_verb_man},
    {.name = "help",
     .group = ROTA_GROUP_ABOUT,
     .arguments = "[VERB | all]",
     .most = 2,
     .summary = "help on a verb; `all` lists every verb",
     .description = "",
     .complete = ROTA_COMPLETE_VERB,
     .handler = rota_verb_help},
};

const size_t ROTA_VERB_COUNT = sizeof ROTA_VERBS / sizeof ROTA_VERBS[0];

static bool named (const rota_verb_t *verb, const char *name)
{
    return strcmp (verb->name, name) == 0 || (verb->alias && strcmp (verb->alias, name) == 0);
}

const rota_verb_t *rota_verb_find (size_t count, char *const *arguments, size_t *ret_words)
{
    char two[64];
    for (size_t words = count < 2 ? count : 2; words > 0; words--) {
        int length = snprintf (two, sizeof two, words == 2 ? "%s %s" : "%s", arguments[0],
                               words == 2 ? arguments[1] : "");
        if (length < 0 || (size_t)length >= sizeof two)
            continue;
        for (size_t i = 0; i < ROTA_VERB_COUNT; i++)
            if (named (&ROTA_VERBS[i], two)) {
                *ret_words = words;
                return &ROTA_VERBS[i];
            }
    }
    return NULL;
}

const char *rota_verb_guess (const char *word, char ret_text[ROTA_GUESS_TEXT_BYTES])
{
    rota_guess_t guess;
    rota_guess_start (&guess, word, strlen (word));
    for (size_t i = 0; i < ROTA_VERB_COUNT; i++) {
        const rota_verb_t *verb = &ROTA_VERBS[i];
        if (verb->group == ROTA_GROUP_HIDDEN)
            continue;
        rota_guess_offer (&guess, verb->name, strlen (verb->name));
        if (verb->alias)
            rota_guess_offer (&guess, verb->alias, strlen (verb->alias));
    }
    snprintf (ret_text, ROTA_GUESS_TEXT_BYTES, "%s", rota_guess_end (&guess));
    return ret_text;
}
