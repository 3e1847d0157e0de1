#include "cli/json.h"

#include "cli/render.h"

#include "bus/clock.h"

#include <stdlib.h>
#include <string.h>

#define PRECISION JSON_REAL_PRECISION (15) /* 0.1 is written as 0.1 */

/* Jansson takes only valid UTF-8; NUL is fine with json_stringn. */
static json_t *text_of (const void *bytes, size_t length)
{
    if (!bytes || length == 0)
        return json_string ("");
    json_t *value = json_stringn (bytes, length);
    if (value)
        return value;
    char *copy = malloc (length + 1);
    if (!copy)
        return NULL;
    memcpy (copy, bytes, length);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)copy[i] >= 0x80)
            copy[i] = '?';
    value = json_stringn (copy, length);
    free (copy);
    return value;
}

void rota_json_set_text (json_t *object, const char *name, bool present, ProtobufCBinaryData bytes)
{
    if (present)
        json_object_set_new (object, name, text_of (bytes.data, bytes.len));
}

void rota_json_set_string (json_t *object, const char *name, const char *text)
{
    if (text)
        json_object_set_new (object, name, text_of (text, strlen (text)));
}

void rota_json_set_number (json_t *object, const char *name, uint64_t number)
{
    json_object_set_new (object, name, json_integer ((json_int_t)number));
}

void rota_json_set_true (json_t *object, const char *name, bool value)
{
    if (value)
        json_object_set_new (object, name, json_true ());
}

void rota_json_set_time (json_t *object, const char *name, int64_t wall_ms)
{
    char text[ROTA_CLOCK_ISO_BYTES];
    if (wall_ms <= 0)
        return;
    rota_clock_iso (wall_ms, text);
    json_object_set_new (object, name, json_string (text));
}

static void set_texts (json_t *object, const char *name, size_t count, const ProtobufCBinaryData *texts)
{
    if (count == 0)
        return;
    json_t *list = json_array ();
    for (size_t i = 0; i < count; i++)
        json_array_append_new (list, text_of (texts[i].data, texts[i].len));
    json_object_set_new (object, name, list);
}

static void set_signed (json_t *object, const char *name, bool present, int64_t number)
{
    if (present)
        json_object_set_new (object, name, json_integer (number));
}

static const char *kind_name (Rota__NodeKind kind)
{
    return kind == ROTA__NODE_KIND__NODE_KIND_EPIC        ? "epic"
           : kind == ROTA__NODE_KIND__NODE_KIND_MILESTONE ? "milestone"
                                                          : "task";
}

static json_t *dependency_of (const Rota__Dependency *dependency)
{
    json_t *object = json_object ();
    rota_json_set_text (object, "on", dependency->has_on, dependency->on);
    rota_json_set_text (object, "epic", dependency->has_epic, dependency->epic);
    if (dependency->type == ROTA__DEPENDENCY_TYPE__DEPENDENCY_TYPE_RELATED)
        rota_json_set_string (object, "type", "related");
    else if (dependency->type == ROTA__DEPENDENCY_TYPE__DEPENDENCY_TYPE_SUGGESTED)
        rota_json_set_string (object, "type", "suggested");
    else
        rota_json_set_string (object, "type", "blocks");
    return object;
}

json_t *rota_json_spec (const Rota__TaskSpec *spec)
{
    json_t *object = json_object ();
    rota_json_set_text (object, "id", spec->has_id, spec->id);
    rota_json_set_string (object, "kind", kind_name (spec->kind));
    rota_json_set_text (object, "epic", spec->has_epic, spec->epic);
    rota_json_set_text (object, "milestone", spec->has_milestone, spec->milestone);
    rota_json_set_text (object, "title", spec->has_title, spec->title);
    rota_json_set_text (object, "description", spec->has_description, spec->description);
    set_signed (object, "priority", spec->has_priority, spec->priority);
    set_signed (object, "complexity", spec->has_complexity, spec->complexity);
    if (spec->has_estimate_hours)
        json_object_set_new (object, "estimate_hours", json_real (spec->estimate_hours));
    rota_json_set_text (object, "run", spec->has_run, spec->run);
    rota_json_set_text (object, "prompt", spec->has_prompt, spec->prompt);
    rota_json_set_text (object, "agent", spec->has_agent, spec->agent);
    rota_json_set_text (object, "directory", spec->has_directory, spec->directory);
    set_signed (object, "attempts", spec->has_attempts, spec->attempts);
    set_signed (object, "timeout_ms", spec->has_timeout_ms, spec->timeout_ms);
    set_signed (object, "silence_ms", spec->has_silence_ms, spec->silence_ms);
    rota_json_set_time (object, "not_before", spec->not_before_ms);
    rota_json_set_true (object, "approval", spec->approval);
    rota_json_set_text (object, "review", spec->has_review, spec->review);
    set_texts (object, "gates", spec->n_gates, spec->gates);
    rota_json_set_text (object, "profile", spec->has_profile, spec->profile);
    set_texts (object, "labels", spec->n_labels, spec->labels);
    set_texts (object, "touches", spec->n_touches, spec->touches);
    set_texts (object, "capabilities", spec->n_capabilities, spec->capabilities);
    if (spec->n_dependencies > 0) {
        json_t *list = json_array ();
        for (size_t i = 0; i < spec->n_dependencies; i++)
            json_array_append_new (list, dependency_of (spec->dependencies[i]));
        json_object_set_new (object, "dependencies", list);
    }
    return object;
}

json_t *rota_json_task (const Rota__TaskState *task)
{
    json_t *object = json_object ();
    rota_json_set_text (object, "id", task->has_id, task->id);
    rota_json_set_text (object, "title", task->has_title, task->title);
    rota_json_set_string (object, "kind", kind_name (task->kind));
    if (task->has_status && task->status)
        rota_json_set_string (object, "status", rota_status_name (task->status));
    if (task->has_phase && task->phase != ROTA__PHASE__PHASE_UNSPECIFIED)
        rota_json_set_string (object, "phase", rota_phase_name (task->phase));
    if (task->has_blocked && task->blocked != ROTA__BLOCK_CAUSE__BLOCK_CAUSE_UNSPECIFIED)
        rota_json_set_string (object, "blocked", rota_block_cause_name (task->blocked));
    rota_json_set_text (object, "reason", task->has_reason, task->reason);
    rota_json_set_text (object, "source", task->has_source, task->source);
    rota_json_set_text (object, "agent", task->has_agent, task->agent);
    set_signed (object, "attempt", task->has_attempt && task->attempt > 0, task->attempt);
    set_signed (object, "attempts_used", task->has_attempts_used, task->attempts_used);
    set_signed (object, "attempts_allowed", task->has_attempts_allowed, task->attempts_allowed);
    rota_json_set_time (object, "created", task->created_ms);
    rota_json_set_time (object, "started", task->started_ms);
    rota_json_set_time (object, "finished", task->finished_ms);
    rota_json_set_time (object, "not_before", task->not_before_ms);
    rota_json_set_true (object, "waiting", task->waiting);
    rota_json_set_true (object, "unreachable", task->unreachable);
    rota_json_set_true (object, "orphaned", task->orphaned);
    rota_json_set_true (object, "flagged", task->flagged);
    if (task->spec)
        json_object_set_new (object, "definition", rota_json_spec (task->spec));
    return object;
}

static json_t *result_of (const Rota__Result *result)
{
    json_t *object = json_object ();
    rota_json_set_string (object, "class", rota_result_class_name (result->result_class));
    set_signed (object, "exit_code", result->has_exit_code, result->exit_code);
    set_signed (object, "signal", result->has_signal && result->signal > 0, result->signal);
    rota_json_set_text (object, "message", result->has_message, result->message);
    rota_json_set_text (object, "answer", result->has_answer, result->answer);
    rota_json_set_text (object, "last_output", result->has_last_output, result->last_output);
    if (result->has_started_ms && result->has_finished_ms)
        set_signed (object, "duration_ms", true, result->finished_ms - result->started_ms);
    set_signed (object, "user_us", result->has_user_us, (int64_t)result->user_us);
    set_signed (object, "system_us", result->has_system_us, (int64_t)result->system_us);
    set_signed (object, "max_rss_bytes", result->has_max_rss_bytes, (int64_t)result->max_rss_bytes);
    set_signed (object, "output_bytes", result->has_output_bytes, (int64_t)result->output_bytes);
    set_signed (object, "output_dropped_bytes", result->output_dropped_bytes > 0,
                (int64_t)result->output_dropped_bytes);
    rota_json_set_text (object, "session", result->has_session, result->session);
    if (result->has_limit_kind)
        rota_json_set_string (object, "limit_kind", rota_limit_kind_name (result->limit_kind));
    rota_json_set_time (object, "limited_until", result->until_ms);
    const Rota__Usage *usage = result->usage;
    if (usage) {
        set_signed (object, "input_tokens", usage->has_input_tokens, (int64_t)usage->input_tokens);
        set_signed (object, "cached_tokens", usage->has_cached_tokens, (int64_t)usage->cached_tokens);
        set_signed (object, "output_tokens", usage->has_output_tokens, (int64_t)usage->output_tokens);
        if (usage->has_cost_usd)
            json_object_set_new (object, "cost_usd", json_real (usage->cost_usd));
    }
    return object;
}

static void set_work (json_t *object, const Rota__Work *work)
{
    json_t *it = json_object ();
    rota_json_set_text (it, "commit", work->has_commit, work->commit);
    rota_json_set_text (it, "begun_from", work->has_begun_from, work->begun_from);
    rota_json_set_text (it, "tree", work->has_tree, work->tree);
    rota_json_set_text (it, "branch", work->has_branch, work->branch);
    rota_json_set_text (it, "merged", work->has_merged, work->merged);
    rota_json_set_text (it, "onto", work->has_onto, work->onto);
    set_signed (it, "files", work->has_files, work->files);
    set_signed (it, "insertions", work->has_insertions, work->insertions);
    set_signed (it, "deletions", work->has_deletions, work->deletions);
    json_object_set_new (it, "isolated", json_boolean (work->isolated));
    json_object_set_new (object, "work", it);
}

static void set_gates (json_t *object, const Rota__Result *result)
{
    static const char *const STATES[] = {"?", "passed", "failed", "timed_out", "flaky", "not_checkable"};
    json_t *list = json_array ();
    for (size_t i = 0; i < result->n_gates; i++) {
        const Rota__GateResult *gate = result->gates[i];
        json_t *it = json_object ();
        rota_json_set_text (it, "name", gate->has_name, gate->name);
        bool marked = gate->state == ROTA__GATE_STATE__GATE_STATE_MARKED;
        rota_json_set_string (it, "state", marked ? "marked" : STATES[gate->state < 6 ? gate->state : 0]);
        if (gate->cached)
            json_object_set_new (it, "cached", json_true ());
        set_signed (it, "exit_code", gate->has_exit_code, gate->exit_code);
        set_signed (it, "took_ms", gate->has_took_ms, gate->took_ms);
        rota_json_set_text (it, "output", gate->has_output, gate->output);
        json_array_append_new (list, it);
    }
    json_object_set_new (object, "gates", list);
}

static void set_verdict (json_t *object, const Rota__Verdict *verdict)
{
    json_t *it = json_object (), *comments = json_array ();
    json_object_set_new (it, "approved", json_boolean (verdict->approved));
    rota_json_set_text (it, "summary", verdict->has_summary, verdict->summary);
    set_signed (it, "score", verdict->has_score, verdict->score);
    rota_json_set_true (it, "same_vendor", verdict->same_vendor);
    for (size_t i = 0; i < verdict->n_comments; i++) {
        const Rota__ReviewComment *comment = verdict->comments[i];
        json_t *one = json_object ();
        rota_json_set_text (one, "file", comment->has_file, comment->file);
        set_signed (one, "line", comment->has_line && comment->line, comment->line);
        rota_json_set_text (one, "severity", comment->has_severity, comment->severity);
        rota_json_set_text (one, "text", comment->has_text, comment->text);
        json_array_append_new (comments, one);
    }
    json_object_set_new (it, "comments", comments);
    json_t *scores = json_object ();
    for (size_t i = 0; i < verdict->n_scores; i++) {
        char *name = rota_clean_bytes (verdict->scores[i]->has_name, verdict->scores[i]->name);
        if (name)
            json_object_set_new (scores, name, json_integer (verdict->scores[i]->value));
        free (name);
    }
    json_object_set_new (it, "scores", scores);
    set_signed (it, "part", verdict->has_part, verdict->part);
    set_signed (it, "parts", verdict->has_parts, verdict->parts);
    json_object_set_new (object, "verdict", it);
}

json_t *rota_json_attempt (const Rota__Attempt *attempt)
{
    json_t *object = json_object ();
    rota_json_set_number (object, "number", attempt->number);
    if (attempt->has_phase)
        rota_json_set_string (object, "phase", rota_phase_name (attempt->phase));
    rota_json_set_text (object, "agent", attempt->has_agent, attempt->agent);
    rota_json_set_text (object, "host", attempt->has_host, attempt->host);
    rota_json_set_time (object, "assigned", attempt->assigned_ms);
    rota_json_set_time (object, "started", attempt->started_ms);
    rota_json_set_time (object, "finished", attempt->finished_ms);
    rota_json_set_true (object, "running", attempt->running);
    rota_json_set_true (object, "used", attempt->used);
    rota_json_set_text (object, "note", attempt->has_note, attempt->note);
    if (attempt->result)
        json_object_set_new (object, "result", result_of (attempt->result));
    if (attempt->result && attempt->result->work)
        set_work (object, attempt->result->work);
    bool of_result = attempt->result && attempt->result->has_quality_permille;
    if (attempt->has_quality_permille || of_result)
        json_object_set_new (object, "quality",
                             json_real ((attempt->has_quality_permille ? attempt->quality_permille
                                                                       : attempt->result->quality_permille) /
                                        1000.0));
    if (attempt->result && attempt->result->n_gates)
        set_gates (object, attempt->result);
    if (attempt->result && attempt->result->verdict)
        set_verdict (object, attempt->result->verdict);
    return object;
}

json_t *rota_json_event (const Rota__Event *event)
{
    json_t *object = json_object ();
    rota_json_set_number (object, "seq", event->seq);
    rota_json_set_time (object, "time", event->time_ms);
    rota_json_set_string (object, "type", rota_event_type_name (event->type));
    rota_json_set_text (object, "task", event->has_task, event->task);
    set_signed (object, "attempt", event->has_attempt && event->attempt > 0, event->attempt);
    rota_json_set_text (object, "agent", event->has_agent, event->agent);
    if (event->has_from_status && event->from_status)
        rota_json_set_string (object, "from", rota_status_name (event->from_status));
    if (event->has_to_status && event->to_status)
        rota_json_set_string (object, "to", rota_status_name (event->to_status));
    if (event->has_phase && event->phase)
        rota_json_set_string (object, "phase", rota_phase_name (event->phase));
    if (event->has_result_class && event->result_class)
        rota_json_set_string (object, "result", rota_result_class_name (event->result_class));
    rota_json_set_text (object, "reason", event->has_reason, event->reason);
    if (event->has_detail) {
        json_t *detail = json_loadb ((const char *)event->detail.data, event->detail.len, 0, NULL);
        if (detail)
            json_object_set_new (object, "detail", detail);
        else
            rota_json_set_text (object, "detail", true, event->detail);
    }
    return object;
}

json_t *rota_json_running (const Rota__RunningTask *task)
{
    json_t *object = json_object ();
    rota_json_set_text (object, "id", task->has_id, task->id);
    rota_json_set_text (object, "title", task->has_title, task->title);
    set_signed (object, "attempt", task->has_attempt, task->attempt);
    if (task->has_phase)
        rota_json_set_string (object, "phase", rota_phase_name (task->phase));
    rota_json_set_text (object, "agent", task->has_agent, task->agent);
    rota_json_set_text (object, "host", task->has_host, task->host);
    rota_json_set_time (object, "started", task->started_ms);
    rota_json_set_true (object, "stopping", task->stopping);
    return object;
}

json_t *rota_json_wait (const Rota__WaitReason *reason)
{
    json_t *object = json_object ();
    rota_json_set_text (object, "code", reason->has_code, reason->code);
    rota_json_set_text (object, "text", reason->has_text, reason->text);
    set_signed (object, "tasks", reason->has_tasks, (int64_t)reason->tasks);
    rota_json_set_time (object, "until", reason->until_ms);
    return object;
}

json_t *rota_json_why (const Rota__WhyReply *reply)
{
    json_t *object = json_object (), *reasons = json_array (), *chain = json_array ();
    rota_json_set_text (object, "id", reply->has_id, reply->id);
    rota_json_set_string (object, "status", reply->status ? rota_status_name (reply->status) : NULL);
    for (size_t i = 0; i < reply->n_reasons; i++)
        json_array_append_new (reasons, rota_json_wait (reply->reasons[i]));
    for (size_t i = 0; i < reply->n_chain; i++)
        json_array_append_new (chain, text_of (reply->chain[i].data, reply->chain[i].len));
    json_object_set_new (object, "reasons", reasons);
    json_object_set_new (object, "chain", chain);
    return object;
}

static void set_hex (json_t *object, const char *name, bool present, ProtobufCBinaryData bytes)
{
    char text[2 * 64 + 1] = "";
    for (size_t i = 0; i < bytes.len && i < 64 && present; i++)
        snprintf (text + 2 * i, 3, "%02x", bytes.data[i]);
    if (present)
        json_object_set_new (object, name, json_string (text));
}

static void set_quality (json_t *object, const Rota__StatusReply *status)
{
    json_t *kinds = json_object (), *epics = json_object ();
    for (size_t i = 0; i < status->n_quality; i++) {
        const Rota__QualityTrend *it = status->quality[i];
        char *name = rota_clean_bytes (true, it->has_kind ? it->kind : it->epic);
        if (name)
            json_object_set_new (
                it->has_kind ? kinds : epics, name,
                json_pack ("{s:f, s:I}", "average", it->permille / 1000.0, "rounds", (json_int_t)it->rounds));
        free (name);
    }
    json_object_set_new (object, "quality", json_pack ("{s:o, s:o}", "kinds", kinds, "epics", epics));
}

json_t *rota_json_status (const Rota__StatusReply *status)
{
    json_t *object = json_object (), *counts = json_object (), *running = json_array (),
           *waits = json_array ();

    json_object_set_new (object, "settled", json_boolean (status->settled));
    rota_json_set_true (object, "paused", status->paused);
    rota_json_set_true (object, "draining", status->draining);
    rota_json_set_true (object, "disk_low", status->disk_low);
    rota_json_set_text (object, "mode", status->has_mode, status->mode);
    rota_json_set_text (object, "mode_reason", status->has_mode, status->mode_reason);
    rota_json_set_time (object, "mode_since", status->mode_since_ms);
    rota_json_set_true (object, "mode_pinned", status->mode_pinned);
    if (status->has_average_quality)
        json_object_set_new (object, "average_quality", json_real (status->average_quality));
    set_quality (object, status);
    rota_json_set_number (object, "total", status->total);
    for (size_t i = 0; i < status->n_counts; i++)
        rota_json_set_number (counts, rota_status_name (status->counts[i]->status), status->counts[i]->tasks);
    json_object_set_new (object, "counts", counts);
    rota_json_set_number (object, "ready", status->ready);
    rota_json_set_number (object, "waiting", status->waiting);
    rota_json_set_number (object, "delayed", status->delayed);
    rota_json_set_number (object, "unreachable", status->unreachable);
    rota_json_set_number (object, "unassignable", status->unassignable);
    rota_json_set_number (object, "awaiting_human", status->awaiting_human);
    rota_json_set_number (object, "out_of_budget", status->broke);
    rota_json_set_number (object, "orphaned", status->orphaned);
    rota_json_set_number (object, "merged", status->merged);
    rota_json_set_number (object, "unchecked", status->unchecked);
    rota_json_set_time (object, "next", status->next_ms);
    rota_json_set_number (object, "attempts", status->attempts);
    rota_json_set_number (object, "slots", status->slots);
    rota_json_set_number (object, "slots_busy", status->slots_busy);
    for (size_t i = 0; i < status->n_running; i++)
        json_array_append_new (running, rota_json_running (status->running[i]));
    json_object_set_new (object, "running", running);
    for (size_t i = 0; i < status->n_waits; i++)
        json_array_append_new (waits, rota_json_wait (status->waits[i]));
    json_object_set_new (object, "waits", waits);
    set_hex (object, "store", status->has_store, status->store);
    rota_json_set_number (object, "scheduler_epoch", status->scheduler_epoch);
    rota_json_set_number (object, "last_event", status->last_event);
    return object;
}

static json_t *limit_of_account (const Rota__AccountLimit *limit)
{
    json_t *object = json_object ();
    rota_json_set_string (object, "class", rota_result_class_name (limit->result_class));
    if (limit->has_limit_kind)
        rota_json_set_string (object, "limit_kind", rota_limit_kind_name (limit->limit_kind));
    rota_json_set_text (object, "window", limit->has_window, limit->window);
    rota_json_set_time (object, "since", limit->since_ms);
    rota_json_set_time (object, "until", limit->until_ms);
    rota_json_set_number (object, "trips", limit->trips);
    rota_json_set_text (object, "reason", limit->has_reason, limit->reason);
    return object;
}

json_t *rota_json_agent (const Rota__AgentState *agent)
{
    json_t *object = json_object (), *running = json_array ();
    rota_json_set_text (object, "name", agent->has_name, agent->name);
    rota_json_set_text (object, "kind", agent->has_kind, agent->kind);
    rota_json_set_text (object, "host", agent->has_host, agent->host);
    rota_json_set_text (object, "program_version", agent->has_program_version, agent->program_version);
    json_object_set_new (object, "connected", json_boolean (agent->connected));
    rota_json_set_true (object, "draining", agent->draining);
    rota_json_set_number (object, "slots", agent->slots);
    rota_json_set_number (object, "busy", agent->busy);
    rota_json_set_time (object, "since", agent->since_ms);
    rota_json_set_time (object, "cooldown_until", agent->cooldown_until_ms);
    rota_json_set_text (object, "cooldown_reason", agent->has_cooldown_reason, agent->cooldown_reason);
    rota_json_set_true (object, "full", agent->full);
    rota_json_set_true (object, "coordinator", agent->coordinator);
    rota_json_set_true (object, "cooldown_by_hand", agent->cooldown_by_hand);
    rota_json_set_text (object, "account", agent->has_account, agent->account);
    json_t *limits = json_array ();
    for (size_t i = 0; i < agent->n_limits; i++)
        json_array_append_new (limits, limit_of_account (agent->limits[i]));
    json_object_set_new (object, "limits", limits);
    if (agent->has_tokens_today)
        rota_json_set_number (object, "tokens_today", agent->tokens_today);
    if (agent->has_cost_today)
        json_object_set_new (object, "cost_today_usd", json_real (agent->cost_today));
    if (agent->has_limited)
        rota_json_set_number (object, "limited_today", agent->limited);
    rota_json_set_number (object, "succeeded", agent->succeeded);
    rota_json_set_number (object, "failed", agent->failed);
    rota_json_set_text (object, "problem", agent->has_problem, agent->problem);
    for (size_t i = 0; i < agent->n_running; i++)
        json_array_append_new (running, rota_json_running (agent->running[i]));
    json_object_set_new (object, "running", running);
    return object;
}

json_t *rota_json_peer (const Rota__Peer *peer)
{
    json_t *object = json_object ();
    rota_json_set_text (object, "name", peer->has_name, peer->name);
    if (peer->has_role)
        rota_json_set_string (object, "role", rota_role_name (peer->role));
    rota_json_set_text (object, "host", peer->has_host, peer->host);
    set_signed (object, "pid", peer->has_pid, peer->pid);
    rota_json_set_text (object, "program_version", peer->has_program_version, peer->program_version);
    rota_json_set_text (object, "key", peer->has_key, peer->key);
    rota_json_set_time (object, "since", peer->since_ms);
    set_signed (object, "silent_ms", peer->has_silent_ms, peer->silent_ms);
    set_hex (object, "instance", peer->has_instance, peer->instance);
    return object;
}

json_t *rota_json_difference (const Rota__ImportDifference *difference)
{
    json_t *object = json_object ();
    rota_json_set_true (object, "dry_run", difference->dry_run);
    rota_json_set_number (object, "added", difference->added);
    rota_json_set_number (object, "changed", difference->changed);
    rota_json_set_number (object, "unchanged", difference->unchanged);
    rota_json_set_number (object, "orphaned", difference->orphaned);
    rota_json_set_number (object, "pruned", difference->pruned);
    set_texts (object, "added_ids", difference->n_added_ids, difference->added_ids);
    set_texts (object, "changed_ids", difference->n_changed_ids, difference->changed_ids);
    set_texts (object, "orphaned_ids", difference->n_orphaned_ids, difference->orphaned_ids);
    return object;
}

void rota_json_line (FILE *stream, json_t *value)
{
    if (!value)
        return;
    json_dumpf (value, stream, JSON_COMPACT | PRECISION);
    fputc ('\n', stream);
    fflush (stream);
    json_decref (value);
}

void rota_json_document (FILE *stream, json_t *value)
{
    if (!value)
        return;
    json_dumpf (value, stream, JSON_INDENT (2) | PRECISION);
    fputc ('\n', stream);
    json_decref (value);
}
