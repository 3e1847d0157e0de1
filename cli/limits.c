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
    char until[ROTA_CLOCK_ISO_BYTES + ROTA_CLOCK_DURATION_BYTES + 16] = "", at[ROTA_CLOCK_ISO_BYTES],
                                                                  left[ROTA_CLOCK_DURATION_BYTES];
    if (match->until_ms) {
        rota_clock_iso (match->until_ms, at);
        rota_clock_duration (match->until_ms - now_ms, left);
        snprintf (until, sizeof until, " until %s (in %s)", at, left);
    }
    fprintf (cli->out.stream, "%s%s%s%s  by %s\n    %s\n", class, *kind ? " " : "", kind, until,
             match->rule ? match->rule : "no rule", line);
}

int rota_verb_limits (rota_cli_t *cli)
{
    const char *path = rota_options_argument (cli->options, 1),
               *provider = rota_options_text (cli->options, "provider", NULL);
    const char *zone = rota_options_text (cli->options, "zone", NULL);
    rota_error_t error = {""};
    char *text, *rest, *line;
    size_t size;

    if (strcmp (rota_options_argument (cli->options, 0), "test") != 0)
        return rota_cli_fail (ROTA_EXIT_USAGE, "usage: rota limits test FILE");
    rota_limits_t *limits = rules_of (cli);
    if (!limits)
        return ROTA_EXIT_USAGE;
    if (rota_yaml_read_file (strcmp (path, "-") == 0 ? "/dev/stdin" : path, &text, &size, &error) < 0) {
        rota_limits_destroy (&limits);
        return rota_cli_fail (ROTA_EXIT_USAGE, "%s", error.text);
    }
    char *bytes = strndup (text, size);
    int64_t now_ms = rota_clock_wall_ms ();
    for (line = bytes ? strtok_r (bytes, "\r\n", &rest) : NULL; line; line = strtok_r (NULL, "\r\n", &rest)) {
        rota_limit_match_t match;
        char *shown = rota_clean (line, strlen (line), false);
        rota_limits_match (limits, provider, line, strlen (line), now_ms, zone, &match);
        put_match (cli, shown ? shown : "", &match, now_ms);
        free (shown);
    }
    free (bytes);
    free (text);
    rota_limits_destroy (&limits);
    return bytes ? ROTA_EXIT_DONE : rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
}
