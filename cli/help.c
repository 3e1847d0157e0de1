/* Help and manual page, from the table of verbs. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define HELP_COLUMNS 92
#define NAME_COLUMNS 28
#define OPTION_COLUMNS 30

static const char INTRODUCTION[] = "rota works a roadmap, a graph of tasks, to its end.";

/* `text` in lines of at most `width`, each after `indent` blanks; the first line begins where the cursor is,
 * at `column`. Newlines in the text begin a new paragraph. */
static void wrap (FILE *stream, const char *text, unsigned indent, unsigned column, unsigned width)
{
    while (*text) {
        size_t word = strcspn (text, " \n");
        if (column > indent && column + 1 + word > width) {
            fprintf (stream, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            fputc (' ', stream);
            column++;
        }
        fwrite (text, 1, word, stream);
        column += (unsigned)word;
        text += word;
        if (*text == '\n') {
            fprintf (stream, "\n\n%*s", (int)indent, "");
            column = indent;
        }
        text += *text != '\0';
    }
    fputc ('\n', stream);
}

static void usage (char *ret_text, size_t capacity, const rota_verb_t *verb)
{
    snprintf (ret_text, capacity, "rota %s%s%s", verb->name, *verb->arguments ? " " : "", verb->arguments);
}

static void verb_line (FILE *stream, const rota_screen_t *screen, const rota_verb_t *verb)
{
    char text[128];
    usage (text, sizeof text, verb);
    fprintf (stream, "  %s%-*s%s", rota_style (screen, ROTA_STYLE_CYAN), NAME_COLUMNS, text,
             rota_style_end (screen));
    if (strlen (text) >= NAME_COLUMNS)
        fprintf (stream, "\n  %*s", NAME_COLUMNS, "");
    wrap (stream, verb->summary, NAME_COLUMNS + 2, NAME_COLUMNS + 2, HELP_COLUMNS);
}

void rota_help_front (FILE *stream, const rota_screen_t *screen)
{
    fprintf (stream, "%s%s%s\n\n", rota_style (screen, ROTA_STYLE_BOLD), INTRODUCTION,
             rota_style_end (screen));
    for (size_t i = 0; i < ROTA_VERB_COUNT; i++)
        if (ROTA_VERBS[i].front)
            verb_line (stream, screen, &ROTA_VERBS[i]);
    fputs (
        "\nStart with `rota init`, then `rota run`. `rota help VERB` explains one verb, `rota help all` lists"
        " every one.\n",
        stream);
}

static void exit_codes (FILE *stream, const char *indent)
{
    static const char *const CODES[][2] = {
        {"0", "done"},
        {"1", "ended, but a task failed, is blocked, unreachable or was cancelled"},
        {"2", "bad usage or input; nothing changed"},
        {"3", "a service can't be reached"},
        {"4", "refused: permission, stale, conflict, or not in this state"},
        {"5", "run: only people are awaited"},
        {"6", "run, wait: --timeout"},
        {"130", "interrupted; the state is kept"},
    };
    for (size_t i = 0; i < sizeof CODES / sizeof CODES[0]; i++)
        if (*indent == '.')
            fprintf (stream, ".TP\n.B %s\n%s\n", CODES[i][0], CODES[i][1]);
        else
            fprintf (stream, "%s%-5s%s\n", indent, CODES[i][0], CODES[i][1]);
}

static void option_name (char *ret_text, size_t capacity, const rota_option_t *option)
{
    char letter[8] = "    ";
    if (option->letter)
        snprintf (letter, sizeof letter, "-%c, ", option->letter);
    snprintf (ret_text, capacity, "%s--%s%s%s", letter, option->name, option->value ? " " : "",
              option->value ? option->value : "");
}

static void option_lines (FILE *stream, const rota_screen_t *screen, const rota_option_t *options)
{
    for (const rota_option_t *option = options; option && option->name; option++) {
        char text[128];
        option_name (text, sizeof text, option);
        fprintf (stream, "  %s%-*s%s", rota_style (screen, ROTA_STYLE_CYAN), OPTION_COLUMNS, text,
                 rota_style_end (screen));
        if (strlen (text) >= OPTION_COLUMNS)
            fprintf (stream, "\n  %*s", OPTION_COLUMNS, "");
        wrap (stream, option->help, OPTION_COLUMNS + 2, OPTION_COLUMNS + 2, HELP_COLUMNS);
    }
}

static void heading (FILE *stream, const rota_screen_t *screen, const char *text)
{
    fprintf (stream, "\n%s%s%s\n", rota_style (screen, ROTA_STYLE_BOLD), text, rota_style_end (screen));
}

void rota_help_all (FILE *stream, const rota_screen_t *screen)
{
    fprintf (stream, "%s%s%s\n", rota_style (screen, ROTA_STYLE_BOLD), INTRODUCTION, rota_style_end (screen));
    for (int group = 0; group < ROTA_GROUP_HIDDEN; group++) {
        heading (stream, screen, ROTA_GROUP_TITLES[group]);
        for (size_t i = 0; i < ROTA_VERB_COUNT; i++)
            if ((int)ROTA_VERBS[i].group == group)
                verb_line (stream, screen, &ROTA_VERBS[i]);
    }
    heading (stream, screen, "Options of every verb");
    option_lines (stream, screen, ROTA_COMMON_OPTIONS);
    heading (stream, screen, "Exit codes");
    exit_codes (stream, "  ");
}

void rota_help_verb (FILE *stream, const rota_screen_t *screen, const rota_verb_t *verb)
{
    char text[128];
    usage (text, sizeof text, verb);
    fprintf (stream, "%s%s%s:", rota_style (screen, ROTA_STYLE_BOLD), text, rota_style_end (screen));
    wrap (stream, verb->summary, 0, (unsigned)strlen (text) + 1, HELP_COLUMNS);
    if (*verb->description) {
        fputc ('\n', stream);
        wrap (stream, verb->description, 0, 0, HELP_COLUMNS);
    }
    if (verb->alias)
        fprintf (stream, "\nAlso called `rota %s`.\n", verb->alias);
    if (verb->options && verb->options->name) {
        heading (stream, screen, "Options");
        option_lines (stream, screen, verb->options);
    }
    heading (stream, screen, "Options of every verb");
    option_lines (stream, screen, ROTA_COMMON_OPTIONS);
    if (verb->example) {
        heading (stream, screen, "Examples");
        for (const char *line = verb->example; line;
             line = strchr (line, '\n') ? strchr (line, '\n') + 1 : NULL)
            fprintf (stream, "  %.*s\n", (int)strcspn (line, "\n"), line);
    }
}

/* Text for roff: backslashes and leading dots mean something there, and a dash is to stay a dash. */
static void roff (FILE *stream, const char *text)
{
    bool start = true;
    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\''))
            fputs ("\\&", stream);
        start = *text == '\n';
        if (*text == '\\')
            fputs ("\\e", stream);
        else if (*text == '-')
            fputs ("\\-", stream);
        else if (*text == '\n')
            fputs ("\n.br\n", stream);
        else
            fputc (*text, stream);
    }
}

static void roff_options (FILE *stream, const rota_option_t *options)
{
    for (const rota_option_t *option = options; option && option->name; option++) {
        char text[128];
        option_name (text, sizeof text, option);
        fputs (".TP\n.B ", stream);
        roff (stream, text + strspn (text, " "));
        fputs ("\n", stream);
        roff (stream, option->help);
        fputs ("\n", stream);
    }
}

static void roff_verb (FILE *stream, const rota_verb_t *verb)
{
    char text[128];
    usage (text, sizeof text, verb);
    fputs (".SS ", stream);
    roff (stream, text);
    fputs ("\n", stream);
    roff (stream, verb->summary);
    fputs (".\n", stream);
    if (*verb->description) {
        fputs (".PP\n", stream);
        roff (stream, verb->description);
        fputs ("\n", stream);
    }
    if (verb->alias) {
        fputs (".PP\nAlso called\n.B ", stream);
        roff (stream, verb->alias);
        fputs (".\n", stream);
    }
    roff_options (stream, verb->options);
    if (verb->example) {
        fputs (".PP\n.nf\n", stream);
        for (const char *line = verb->example; line;
             line = strchr (line, '\n') ? strchr (line, '\n') + 1 : NULL) {
            char *one = strndup (line, strcspn (line, "\n"));
            roff (stream, one ? one : "");
            fputs ("\n", stream);
            free (one);
        }
        fputs (".fi\n", stream);
    }
}

void rota_help_man (FILE *stream)
{
    fprintf (stream, ".TH ROTA 1 \"\" \"rota %s\" \"User Commands\"\n", ROTA_VERSION);
    fputs (".SH NAME\nrota \\- works a roadmap of tasks to its end\n"
           ".SH SYNOPSIS\n.B rota\n.I VERB\n[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...\n"
           ".SH DESCRIPTION\n"
           "A roadmap is a YAML file with tasks that depend on each other. rota hands each task to an agent "
           "when\n"
           "its turn has come, several at a time, and keeps what happened in a state directory, so that it "
           "goes\n"
           "on after any interruption where it stopped.\n",
           stream);
    fputs (".SH OPTIONS\nThese are known to every verb.\n", stream);
    roff_options (stream, ROTA_COMMON_OPTIONS);
    for (int group = 0; group < ROTA_GROUP_HIDDEN; group++) {
        char *title = strdup (ROTA_GROUP_TITLES[group]);
        for (char *c = title; c && *c; c++)
            if (*c >= 'a' && *c <= 'z')
                *c = (char)(*c - 'a' + 'A');
        fprintf (stream, ".SH %s\n", title ? title : "");
        free (title);
        for (size_t i = 0; i < ROTA_VERB_COUNT; i++)
            if ((int)ROTA_VERBS[i].group == group)
                roff_verb (stream, &ROTA_VERBS[i]);
    }
    fputs (".SH EXIT STATUS\n", stream);
    exit_codes (stream, ".");
    fputs (".SH FILES\n.TP\n.I .rota\nThe state directory: the store, the sockets, the output of tasks.\n"
           ".TP\n.I rota.yaml\nSettings; \\fBrota config\\fR shows those in force.\n"
           ".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nNo colours when it is set.\n"
           ".TP\n.B ROTA_CONFIG\nThe settings file.\n"
           ".TP\n.B ROTA_LIBEXEC\nWhere the services' programs are, if not beside rota itself.\n",
           stream);
}
