/* The verbs that show and take what attempts made of a repository: diff, review, open, merge. git is asked
 * where it knows better, in the directory that the user is in. */
#include "bus/names.h"
#include "cli/git.h"
#include "cli/json.h"
#include "cli/link.h"
#include "cli/tasks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define INTEGRATION_PREFIX "rota/"
#define OUTPUT_LINES 10

/* ---- git */

/* In the place of this process: git's words, colours and pager are the user's own. */
static int become_git (char *const *arguments)
{
    fflush (stdout);
    execvp ("git", arguments);
    return rota_cli_fail (ROTA_EXIT_UNREACHABLE, "git can't be run: %s", strerror (errno));
}

/* ---- the task's attempts */

static int fetch (const rota_cli_t *cli, rota_link_t *link, Rota__TaskReply **ret_reply)
{
    Rota__TaskQuery query = ROTA__TASK_QUERY__INIT;
    int code = rota_link_open_any (cli, link);
    if (code != ROTA_EXIT_DONE)
        return code;
    query.has_id = true;
    query.id = rota_bytes (rota_options_argument (cli->options, 0));
    code = rota_link_call (link, ROTA_MESSAGE_TASK_QUERY, &query.base, ROTA_CALL_MS, ROTA_MESSAGE_TASK_REPLY,
                           ret_reply);
    if (code == ROTA_EXIT_DONE && !(*ret_reply)->task)
        code = rota_cli_fail (ROTA_EXIT_UNREACHABLE, "the scheduler's answer holds no task");
    if (code != ROTA_EXIT_DONE)
        rota_link_close (link);
    return code;
}

/* The newest attempt at the work that left a commit; NULL: none did. */
static const Rota__Attempt *newest_work (const Rota__TaskReply *reply)
{
    const Rota__Attempt *newest = NULL;
    for (size_t i = 0; i < reply->n_attempts; i++) {
        const Rota__Attempt *it = reply->attempts[i];
        if (it->phase == ROTA__PHASE__PHASE_WORK && it->result && it->result->work &&
            it->result->work->has_commit && (!newest || it->number > newest->number))
            newest = it;
    }
    return newest;
}

void rota_work_tell_isolation (const Rota__TaskReply *reply)
{
    const Rota__Attempt *it = newest_work (reply);
    if (!it || !it->result->work->has_isolated || it->result->work->isolated)
        return;
    char *id = rota_clean_bytes (true, reply->task->id);
    printf ("%s was worked on by attempt %u not isolated: it could reach all that its user can\n",
            id ? id : "it", it->number);
    free (id);
}

static int has_no_work (const Rota__TaskReply *reply)
{
    char *id = rota_clean_bytes (true, reply->task->id);
    int code = rota_cli_fail (ROTA_EXIT_REFUSED,
                              "%s has no work in a repository yet: `rota task %s` shows its attempts",
                              id ? id : "it", id ? id : "ID");
    free (id);
    return code;
}

int rota_verb_diff (rota_cli_t *cli)
{
    rota_link_t link;
    Rota__TaskReply *reply = NULL;
    char from[80], to[80], line[ROTA_GIT_LINE_BYTES], object[96];
    int code = fetch (cli, &link, &reply);
    if (code != ROTA_EXIT_DONE)
        return code;
    const Rota__Attempt *attempt = newest_work (reply);
    const Rota__Work *work = attempt ? attempt->result->work : NULL;
    if (work) {
        snprintf (from, sizeof from, "%.*s", (int)work->begun_from.len, (const char *)work->begun_from.data);
        snprintf (to, sizeof to, "%.*s", (int)work->commit.len, (const char *)work->commit.data);
    }
    if (!work)
        code = has_no_work (reply);
    else if (cli->json)
        rota_json_document (stdout, rota_json_attempt (attempt));
    rota_link_close (&link);
    if (code != ROTA_EXIT_DONE || cli->json)
        return code;
    snprintf (object, sizeof object, "%s^{commit}", to);
    if (ROTA_GIT_ASK (line, "rev-parse", "--verify", "--quiet", object) != 0)
        return rota_cli_fail (ROTA_EXIT_REFUSED,
                              "commit %.12s isn't in the repository here: run this where the roadmap's "
                              "repository is",
                              to);
    if (rota_options_flag (cli->options, "stat"))
        return become_git ((char *[]){"git", "diff", "--stat", from, to, NULL});
    return become_git ((char *[]){"git", "diff", from, to, NULL});
}

/* ---- reviews */

static const char *state_word (Rota__GateState state)
{
    static const char *const WORDS[] = {"?", "passed", "failed", "timed out", "flaky", "not checkable"};
    if (state == ROTA__GATE_STATE__GATE_STATE_MARKED)
        return "marked";
    return (size_t)state < sizeof WORDS / sizeof *WORDS ? WORDS[state] : WORDS[0];
}

/* Why a gate or a check did not pass: the end of what it said. */
static void put_output (const rota_cli_t *cli, ProtobufCBinaryData output)
{
    char *text = rota_clean (output.data, output.len, true);
    size_t end = text ? strlen (text) : 0;
    while (end && (text[end - 1] == '\n' || text[end - 1] == ' '))
        text[--end] = '\0';
    size_t at = end;
    for (int lines = 0; at && (text[at - 1] != '\n' || ++lines < OUTPUT_LINES);)
        at--;
    for (char *line = text ? text + at : NULL; line && *line;) {
        size_t length = strcspn (line, "\n");
        printf ("    %s%.*s%s\n", rota_style (&cli->out, ROTA_STYLE_DIM), (int)length, line,
                rota_style_end (&cli->out));
        line += length + (line[length] == '\n');
    }
    free (text);
}

static void put_gates (const rota_cli_t *cli, const Rota__Result *result)
{
    for (size_t i = 0; i < result->n_gates; i++) {
        const Rota__GateResult *gate = result->gates[i];
        bool good = gate->state == ROTA__GATE_STATE__GATE_STATE_PASSED ||
                    gate->state == ROTA__GATE_STATE__GATE_STATE_FLAKY;
        bool open = gate->state == ROTA__GATE_STATE__GATE_STATE_NOT_CHECKABLE ||
                    gate->state == ROTA__GATE_STATE__GATE_STATE_MARKED;
        char *name = rota_clean_bytes (gate->has_name, gate->name);
        printf ("  %s%s%s  %s%s\n",
                rota_style (&cli->out, good   ? ROTA_STYLE_GREEN
                                       : open ? ROTA_STYLE_YELLOW
                                              : ROTA_STYLE_RED),
                state_word (gate->state), rota_style_end (&cli->out), name ? name : "",
                gate->cached ? " (cached)" : "");
        free (name);
        if (gate->state != ROTA__GATE_STATE__GATE_STATE_PASSED)
            put_output (cli, gate->output);
    }
}

static void put_comments (const rota_cli_t *cli, const Rota__Verdict *verdict)
{
    for (size_t i = 0; i < verdict->n_comments; i++) {
        const Rota__ReviewComment *it = verdict->comments[i];
        char *file = rota_clean_bytes (it->has_file, it->file),
             *severity = rota_clean_bytes (it->has_severity, it->severity),
             *text = rota_clean_bytes (it->has_text, it->text), place[32] = "";
        if (it->line)
            snprintf (place, sizeof place, ":%u", it->line);
        printf ("    %s%s%s%s%s%s: %s\n", rota_style (&cli->out, ROTA_STYLE_BOLD), file && *file ? file : "",
                file && *file ? place : "", rota_style_end (&cli->out), file && *file ? " " : "",
                severity ? severity : "note", text ? text : "");
        free (file);
        free (severity);
        free (text);
    }
}

static void put_verdict (const rota_cli_t *cli, const Rota__Attempt *attempt)
{
    const Rota__Verdict *verdict = attempt->result->verdict;
    char *agent = rota_clean_bytes (attempt->has_agent, attempt->agent);
    char *summary = verdict ? rota_clean_bytes (verdict->has_summary, verdict->summary) : NULL;
    printf ("attempt %u  %s%s%s by %s", attempt->number,
            rota_style (&cli->out, !verdict            ? ROTA_STYLE_YELLOW
                                   : verdict->approved ? ROTA_STYLE_GREEN
                                                       : ROTA_STYLE_RED),
            !verdict            ? "no verdict"
            : verdict->approved ? "approved"
                                : "changes wanted",
            rota_style_end (&cli->out), agent ? agent : "?");
    if (verdict && verdict->has_score)
        printf (", %u of 100", verdict->score);
    for (size_t i = 0; verdict && i < verdict->n_scores; i++) {
        char *name = rota_clean_bytes (verdict->scores[i]->has_name, verdict->scores[i]->name);
        printf (", %s %u", name ? name : "?", verdict->scores[i]->value);
        free (name);
    }
    if (verdict && verdict->parts > 1)
        printf (", part %u of %u", verdict->part, verdict->parts);
    if (attempt->result->has_quality_permille)
        printf (", quality %.2f", attempt->result->quality_permille / 1000.0);
    printf ("%s%s%s\n", verdict && verdict->same_vendor ? " (same vendor)" : "",
            summary && *summary ? ": " : "", summary ? summary : "");
    if (verdict)
        put_comments (cli, verdict);
    free (agent);
    free (summary);
}

int rota_verb_review (rota_cli_t *cli)
{
    rota_link_t link;
    Rota__TaskReply *reply = NULL;
    json_t *list = json_array ();
    size_t shown = 0;
    int code = fetch (cli, &link, &reply);
    for (size_t i = code == ROTA_EXIT_DONE ? reply->n_attempts : 0; i-- > 0;) { /* they come newest first */
        const Rota__Attempt *it = reply->attempts[i];
        bool review = it->phase == ROTA__PHASE__PHASE_REVIEW;
        if (!it->result || (!review && !it->result->n_gates))
            continue;
        shown++;
        if (cli->json)
            json_array_append_new (list, rota_json_attempt (it));
        else if (review)
            put_verdict (cli, it);
        else {
            printf ("attempt %u  gates%s", it->number,
                    it->phase == ROTA__PHASE__PHASE_MERGE ? " on the merged tree" : "");
            if (it->result->has_quality_permille)
                printf (", quality %.2f", it->result->quality_permille / 1000.0);
            putchar ('\n');
            put_gates (cli, it->result);
        }
    }
    if (code == ROTA_EXIT_DONE && cli->json)
        rota_json_document (stdout, json_incref (list));
    else if (code == ROTA_EXIT_DONE && !shown)
        rota_cli_note ("nobody has checked or judged it so far");
    if (code == ROTA_EXIT_DONE && !cli->json)
        rota_work_tell_isolation (reply);
    json_decref (list);
    if (code == ROTA_EXIT_DONE)
        rota_link_close (&link);
    return code;
}

/* ---- where it is */

int rota_verb_open (rota_cli_t *cli)
{
    char name[ROTA_ENCODED_MAX_BYTES], *state = NULL, *path = NULL;
    const char *id = rota_options_argument (cli->options, 0);
    int code = rota_link_state (cli, false, &state);
    if (code != ROTA_EXIT_DONE)
        return code;
    rota_id_encode (id, strlen (id), name);
    if (asprintf (&path, "%s/clones/%s", state, name) < 0)
        path = NULL;
    if (!path)
        code = rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    else if (access (path, F_OK) != 0)
        code = rota_cli_fail (ROTA_EXIT_REFUSED,
                              "%s has no clone here now: it has one while an agent works on it; `rota "
                              "diff %s` shows what it made",
                              id, id);
    else if (cli->json)
        rota_json_document (stdout, json_pack ("{s:s}", "path", path));
    else
        puts (path);
    free (state);
    free (path);
    return code;
}

/* ---- taking it */

int rota_verb_merge (rota_cli_t *cli)
{
    char branch[ROTA_GIT_LINE_BYTES], line[ROTA_GIT_LINE_BYTES], source[ROTA_GIT_LINE_BYTES + 8],
        range[2 * ROTA_GIT_LINE_BYTES + 16];
    const char *given = rota_options_argument (cli->options, 0);
    if (ROTA_GIT_ASK (branch, "symbolic-ref", "--quiet", "--short", "HEAD") != 0)
        return rota_cli_fail (ROTA_EXIT_REFUSED,
                              "no branch is checked out here: run this in the repository, on the branch "
                              "that is to take the work");
    if (given && strcmp (given, branch) != 0)
        return rota_cli_fail (ROTA_EXIT_REFUSED, "%s is checked out, not %s: `git switch %s` first", branch,
                              given, given);
    snprintf (source, sizeof source, INTEGRATION_PREFIX "%s", branch);
    snprintf (range, sizeof range, "%s..%s", branch, source);
    if (ROTA_GIT_ASK (line, "rev-parse", "--verify", "--quiet", source) != 0)
        return rota_cli_fail (ROTA_EXIT_REFUSED, "there is no %s: nothing has been merged for %s", source,
                              branch);
    if (ROTA_GIT_ASK (line, "status", "--porcelain", "--untracked-files=no") != 0 || line[0])
        return rota_cli_fail (ROTA_EXIT_REFUSED,
                              "there are changes here that are not committed (`git status`): commit or "
                              "stash them first");
    if (ROTA_GIT_ASK (line, "rev-list", "--count", range) == 0 && strcmp (line, "0") == 0) {
        rota_cli_note ("%s has all of %s already", branch, source);
        return ROTA_EXIT_DONE;
    }
    if (ROTA_GIT_ASK (line, "merge-base", "--is-ancestor", branch, source) != 0)
        return rota_cli_fail (ROTA_EXIT_REFUSED,
                              "%s has commits that %s hasn't: `git merge %s` brings them together", branch,
                              source, source);
    return become_git ((char *[]){"git", "merge", "--ff-only", source, NULL});
}
