/* The verb limits: what rota makes of the texts of errors, by the rules that hold or by others. */
#include "agents/limits.h"

#include "bus/clock.h"
#include "bus/names.h"
#include "bus/settings.h"
#include "bus/yaml.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/render.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The rules of the option, else of the settings, else those built in. NULL after a message. */
static rota_limits_t *rules_of (const rota_cli_t *cli)
{
    rota_settings_t *settings = NULL;
    rota_error_t error = {""};
    const char *path = rota_options_text (cli->options, "rules", NULL);
    if (!path && rota_settings_load (rota_options_text (cli->options, "config", NULL), stderr, &settings,
                                     &error) < 0) {
        rota_cli_fail (ROTA_EXIT_USAGE, "%s", error.text);
        return NULL;
    }
    if (!path && *rota_setting_text (settings, ROTA_SETTING_AGENTS_LIMITS))
        path = rota_setting_text (settings, ROTA_SETTING_AGENTS_LIMITS);
    rota_limits_t *limits = rota_limits_new (path, &error);
    if (!limits)
        rota_cli_fail (ROTA_EXIT_USAGE, "%s", error.text);
    rota_settings_destroy (&settings);
    return limits;
}

static void put_match (const rota_cli_t *cli, const char *line, const rota_limit_match_t *match,
                       int64_t now_ms)
{
    const char *class = match->result_class ? rota_result_class_name (match->result_class) : "unknown";
    const char *kind = match->limit_kind ? rota_limit_kind_name (match->limit_kind) : "";
    if (cli->json) {
        json_t *object = json_object ();
        rota_json_set_string (object, "text", line);
        rota_json_set_string (object, "class", class);
        rota_json_set_string (object, "kind", *kind ? kind : NULL);
        rota_json_set_time (object, "until", match->until_ms);
        rota_json_set_string (object, "rule", match->rule);
        rota_json_line (cli->out.stream, object);
        return;
    }
    char until[24 + ROTA_CLOCK_DURATION_BYTES + 16] = "", at[24], left[ROTA_CLOCK_DURATION_BYTES];
    if (match->until_ms) {
        rota_clock_duration (match->until_ms - now_ms, left);
        snprintf (until, sizeof until, " until %s (in %s)", rota_when (match->until_ms, now_ms, at), left);
    }
    fprintf (cli->out.stream, "%s%s%s%s  by %s\n    %s\n", class, *kind ? " " : "", kind, until,
             match->rule ? match->rule : "no rule", line);
}

/* Each line that isn't blank. */
static void put_lines (const rota_cli_t *cli, const rota_limits_t *limits, const char *text, size_t size)
{
    const char *provider = rota_options_text (cli->options, "provider", NULL),
               *zone = rota_options_text (cli->options, "zone", NULL);
    int64_t now_ms = rota_clock_wall_ms ();
    for (const char *line = text, *end = text + size, *next; line < end; line = next) {
        const char *newline = memchr (line, '\n', (size_t)(end - line));
        size_t length = (size_t)((newline ? newline : end) - line);
        next = newline ? newline + 1 : end;
        while (length > 0 && strchr (" \t\r", line[length - 1]))
            length--;
        if (length == 0)
            continue;
        rota_limit_match_t match;
        char *shown = rota_clean (line, length, false);
        rota_limits_match (limits, provider, line, length, now_ms, zone, &match);
        put_match (cli, shown ? shown : "", &match, now_ms);
        free (shown);
    }
}

int rota_verb_limits (rota_cli_t *cli)
{
    const char *path = rota_options_argument (cli->options, 1);
    rota_error_t error = {""};
    char *text;
    size_t size;

    if (strcmp (rota_options_argument (cli->options, 0), "test") != 0)
        return rota_cli_fail (ROTA_EXIT_USAGE, "usage: rota limits test FILE");
    rota_limits_t *limits = rules_of (cli);
    if (!limits)
        return ROTA_EXIT_USAGE;
    int status = rota_yaml_read_file (strcmp (path, "-") == 0 ? "/dev/stdin" : path, &text, &size, &error);
    if (status == 0) {
        put_lines (cli, limits, text, size);
        free (text);
    }
    rota_limits_destroy (&limits);
    return status < 0 ? rota_cli_fail (ROTA_EXIT_USAGE, "%s", error.text) : ROTA_EXIT_DONE;
}
