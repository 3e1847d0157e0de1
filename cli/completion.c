/* Completion scripts for bash and zsh, from the table of verbs. */
#include "cli/cli.h"

#include <string.h>

static const char *const STATUSES =
    "pending in_progress needs_review in_review needs_improvement done blocked "
    "failed cancelled";
static const char KINDS[] =
#define KIND(word, ADAPTER, slots, what) word " "
#include "agents/kinds.def"
    ;

static bool shown (const rota_verb_t *verb)
{
    return verb->group != ROTA_GROUP_HIDDEN;
}

/* The second word of a verb of two, else NULL. */
static const char *second_word (const rota_verb_t *verb)
{
    const char *space = strchr (verb->name, ' ');
    return space ? space + 1 : NULL;
}

/* Whether the verb is the first in the table with its first word. */
static bool begins_group (const rota_verb_t *verb)
{
    size_t length = strcspn (verb->name, " ");
    return verb == ROTA_VERBS || strncmp (verb[-1].name, verb->name, length + 1) != 0;
}

/* What a verb is called where its first word, if it has two, has been read: its second one and its alias. */
static void bash_names (FILE *stream, const rota_verb_t *verb, const char *ending)
{
    const char *name = second_word (verb) ? second_word (verb) : verb->name;
    fprintf (stream, "%s%s", name, ending);
    if (verb->alias && strcmp (verb->alias, name) != 0)
        fprintf (stream, "|%s%s", verb->alias, ending);
}

/* Bash: words for COMPREPLY after an option or as an argument. */
static void bash_words (FILE *stream, rota_complete_t complete)
{
    switch (complete) {
    case ROTA_COMPLETE_FILE:
        fputs ("compgen -f -- \"$word\"", stream);
        break;
    case ROTA_COMPLETE_ROADMAP:
        fputs ("compgen -d -S / -- \"$word\"; compgen -f -X '!*.y?(a)ml' -- \"$word\"", stream);
        break;
    case ROTA_COMPLETE_DIRECTORY:
        fputs ("compgen -d -- \"$word\"", stream);
        break;
    case ROTA_COMPLETE_TASK:
        fputs ("compgen -W \"$(rota tasks --json --connect-timeout 1 2>/dev/null |"
               " sed -n 's/^.*\"id\": *\"\\([^\"\\\\]*\\)\".*$/\\1/p')\" -- \"$word\"",
               stream);
        break;
    case ROTA_COMPLETE_STATUS:
        fprintf (stream, "compgen -W '%s' -- \"$word\"", STATUSES);
        break;
    case ROTA_COMPLETE_AGENT_KIND:
        fprintf (stream, "compgen -W '%s' -- \"$word\"", KINDS);
        break;
    case ROTA_COMPLETE_VERB:
        fputs ("compgen -W \"$verbs all\" -- \"$word\"", stream);
        break;
    case ROTA_COMPLETE_SHELL:
        fputs ("compgen -W 'bash zsh' -- \"$word\"", stream);
        break;
    case ROTA_COMPLETE_NOTHING:
        fputs (":", stream);
        break;
    }
}

static void bash_options (FILE *stream, const rota_option_t *options)
{
    for (const rota_option_t *option = options; option && option->name; option++)
        fprintf (stream, " --%s", option->name);
}

/* `case` branches for the options of one verb (NULL = of all) that take a value. */
static void bash_values (FILE *stream, const rota_verb_t *verb, const rota_option_t *options)
{
    static const rota_verb_t ANY = {.name = "*"};
    for (const rota_option_t *option = options; option && option->name; option++) {
        char ending[64];
        if (option->kind == ROTA_OPTION_FLAG)
            continue;
        fputs ("        ", stream);
        snprintf (ending, sizeof ending, ":--%s", option->name);
        bash_names (stream, verb ? verb : &ANY, ending);
        if (option->letter) {
            snprintf (ending, sizeof ending, ":-%c", option->letter);
            fputc ('|', stream);
            bash_names (stream, verb ? verb : &ANY, ending);
        }
        fputs (") mapfile -t COMPREPLY < <(", stream);
        bash_words (stream, option->complete);
        fputs ("); return ;;\n", stream);
    }
}

/* The second words of the verbs that begin with the first one of `verb`. */
static void bash_group (FILE *stream, const rota_verb_t *verb)
{
    int length = (int)strcspn (verb->name, " ");
    fprintf (stream,
             "    if [[ $verb == %.*s ]]; then\n"
             "        if ((COMP_CWORD == 2)); then\n"
             "            mapfile -t COMPREPLY < <(compgen -W '",
             length, verb->name);
    for (const rota_verb_t *other = verb;
         other < ROTA_VERBS + ROTA_VERB_COUNT && strncmp (other->name, verb->name, (size_t)length + 1) == 0;
         other++)
        fprintf (stream, "%s%s", other == verb ? "" : " ", second_word (other));
    fputs ("' -- \"$word\"); return\n"
           "        fi\n"
           "        verb=${COMP_WORDS[2]} first=3\n"
           "    fi\n",
           stream);
}

void rota_complete_bash (FILE *stream)
{
    fputs (
        "# bash completion for rota, made by `rota completion bash`\n"
        "_rota()\n{\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}\n"
        "    local first=2 options verbs='",
        stream);
    const char *separator = "";
    for (size_t i = 0; i < ROTA_VERB_COUNT; i++) {
        const rota_verb_t *verb = &ROTA_VERBS[i];
        if (!shown (verb))
            continue;
        if (!second_word (verb) || begins_group (verb))
            fprintf (stream, "%s%.*s", separator, (int)strcspn (verb->name, " "), verb->name);
        separator = " ";
        if (verb->alias)
            fprintf (stream, " %s", verb->alias);
    }
    fputs ("'\n    COMPREPLY=()\n"
           "    if ((COMP_CWORD == 1)); then\n"
           "        mapfile -t COMPREPLY < <(compgen -W \"$verbs --help --version\" -- \"$word\"); return\n"
           "    fi\n",
           stream);
    for (size_t i = 0; i < ROTA_VERB_COUNT; i++)
        if (shown (&ROTA_VERBS[i]) && second_word (&ROTA_VERBS[i]) && begins_group (&ROTA_VERBS[i]))
            bash_group (stream, &ROTA_VERBS[i]);
    fputs ("    case $verb:$before in\n", stream);
    bash_values (stream, NULL, ROTA_COMMON_OPTIONS);
    for (size_t i = 0; i < ROTA_VERB_COUNT; i++)
        if (shown (&ROTA_VERBS[i]))
            bash_values (stream, &ROTA_VERBS[i], ROTA_VERBS[i].options);
    fputs ("    esac\n    : \"$first\"\n    options='", stream);
    bash_options (stream, ROTA_COMMON_OPTIONS);
    fputs ("'\n    case $verb in\n", stream);
    for (size_t i = 0; i < ROTA_VERB_COUNT; i++) {
        const rota_verb_t *verb = &ROTA_VERBS[i];
        if (!shown (verb))
            continue;
        fputs ("        ", stream);
        bash_names (stream, verb, "");
        fputs (")\n            options+='", stream);
        bash_options (stream, verb->options);
        fputs ("'\n            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(", stream);
        bash_words (stream, verb->complete);
        fputs ("); return; } ;;\n", stream);
    }
    fputs ("    esac\n"
           "    [[ $word != -* ]] || mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n"
           "}\n"
           "complete -o filenames -F _rota rota\n",
           stream);
}

/* Text inside '...' of zsh, in a place where [ ] : mean something. */
static void zsh_text (FILE *stream, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs ("'\\''", stream);
        else if (strchr ("[]:\\", *text))
            fprintf (stream, "\\%c", *text);
        else
            fputc (*text, stream);
    }
}

static const char *zsh_action (rota_complete_t complete)
{
    switch (complete) {
    case ROTA_COMPLETE_FILE:
        return "_files";
    case ROTA_COMPLETE_ROADMAP:
        return "_files -g \"*.y(a|)ml\"";
    case ROTA_COMPLETE_DIRECTORY:
        return "_files -/";
    case ROTA_COMPLETE_TASK:
        return "_rota_tasks";
    case ROTA_COMPLETE_STATUS:
        return "(pending in_progress needs_review in_review needs_improvement done blocked failed cancelled)";
    case ROTA_COMPLETE_AGENT_KIND:
        return "(exec)";
    case ROTA_COMPLETE_VERB:
        return "_rota_verbs";
    case ROTA_COMPLETE_SHELL:
        return "(bash zsh)";
    default:
        return "";
    }
}

static void zsh_options (FILE *stream, const rota_option_t *options)
{
    for (const rota_option_t *option = options; option && option->name; option++) {
        for (int form = option->letter ? 0 : 1; form < 2; form++) {
            fprintf (stream, " \\\n                '%s", option->repeated ? "*" : "");
            if (form == 0)
                fprintf (stream, "-%c", option->letter);
            else
                fprintf (stream, "--%s%s", option->name, option->value ? "=" : "");
            fputc ('[', stream);
            zsh_text (stream, option->help);
            fputc (']', stream);
            if (option->value) {
                fputc (':', stream);
                zsh_text (stream, option->value);
                fprintf (stream, ":%s", zsh_action (option->complete));
            }
            fputc ('\'', stream);
        }
    }
}

static void zsh_verb_list (FILE *stream)
{
    for (size_t i = 0; i < ROTA_VERB_COUNT; i++) {
        const rota_verb_t *verb = &ROTA_VERBS[i];
        if (!shown (verb))
            continue;
        fprintf (stream, "        '%s:", second_word (verb) ? verb->alias : verb->name);
        zsh_text (stream, verb->summary);
        fputs ("'\n", stream);
    }
}

void rota_complete_zsh (FILE *stream)
{
    fputs ("#compdef rota\n# zsh completion for rota, made by `rota completion zsh`\n\n"
           "_rota_verbs()\n{\n    local -a verbs=(\n",
           stream);
    zsh_verb_list (stream);
    fputs ("    )\n    _describe verb verbs\n}\n\n"
           "_rota_tasks()\n{\n    local -a tasks\n"
           "    tasks=(${(f)\"$(rota tasks --json --connect-timeout 1 2>/dev/null |"
           " sed -n 's/^.*\"id\": *\"\\([^\"\\\\]*\\)\".*$/\\1/p')\"})\n"
           "    compadd -a tasks\n}\n\n"
           "_rota()\n{\n"
           "    if ((CURRENT == 2)); then\n        _rota_verbs\n        return\n    fi\n"
           "    local verb=$words[2]\n    shift words\n    ((CURRENT--))\n"
           "    case $verb in\n",
           stream);
    for (size_t i = 0; i < ROTA_VERB_COUNT; i++) {
        const rota_verb_t *verb = &ROTA_VERBS[i];
        if (!shown (verb))
            continue;
        fprintf (stream, "        %s)\n            _arguments -s",
                 second_word (verb) ? verb->alias : verb->name);
        zsh_options (stream, verb->options);
        zsh_options (stream, ROTA_COMMON_OPTIONS);
        if (verb->complete != ROTA_COMPLETE_NOTHING)
            fprintf (stream, " \\\n                '*::%s'", zsh_action (verb->complete));
        fputs (" ;;\n", stream);
    }
    fputs ("    esac\n}\n\n_rota \"$@\"\n", stream);
}
