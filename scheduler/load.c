/* The service's memory as the store and the settings have it: sources, names, policy. */
#include "scheduler/service_internal.h"

#include "bus/log.h"

#include <string.h>

/* ---------------------------------------------------------------------------------------- sources */

uint32_t rota_service_find_source (const service_t *self, const char *name, size_t length)
{
    for (size_t i = 1; i < self->sources.count; i++)
        if (self->sources.items[i].name_length == length &&
            memcmp (self->sources.items[i].name, name, length) == 0)
            return (uint32_t)i;
    return 0;
}

static source_t *source_at (service_t *self, uint32_t index)
{
    while (self->sources.count <= index)
        if (!VPUSH (self, sources))
            return NULL;
    return &self->sources.items[index];
}

/* What the header says beside the definitions. */
static void apply_header (service_t *self, uint32_t index)
{
    source_t *source = &self->sources.items[index];
    Rota__RoadmapHeader *header = rota__roadmap_header__unpack (NULL, source->header_size, source->header);
    if (!header)
        return;
    rota_core_limit_source (self->core, index, header->wip_limit);
    source->repository = header->has_repository && header->repository.len > 0;
    rota_claims_of_source (self, index, header);
    rota__roadmap_header__free_unpacked (header, NULL);
}

uint32_t rota_service_source (service_t *self, const char *name, size_t length,
                              const Rota__RoadmapHeader *header)
{
    uint32_t index = rota_service_find_source (self, name, length);
    if (!index)
        index = self->sources.count ? (uint32_t)self->sources.count : 1;
    source_t *source = source_at (self, index);
    if (!source)
        return 0;
    if (!source->name) {
        source->name = strndup (name, length);
        source->name_length = length;
        source->dirty = true;
        if (source->name)
            rota_core_name_source (self->core, index, source->name);
    }
    if (header) {
        free (source->header);
        source->header_size = rota__roadmap_header__get_packed_size (header);
        source->header = malloc (source->header_size + 1);
        if (source->header)
            rota__roadmap_header__pack (header, source->header);
        source->dirty = true;
        if (source->header)
            apply_header (self, index);
    }
    return source->name && (!header || source->header) ? index : 0;
}

rota_define_source_t rota_service_define_source (const service_t *self, uint32_t source)
{
    bool known = source < self->sources.count; /* a dry run makes none */
    return (rota_define_source_t){.source = source,
                                  .repository = known && self->sources.items[source].repository,
                                  .default_attempts = self->policy.default_attempts};
}

const char *rota_service_agent_name (const service_t *self, rota_agent_t agent)
{
    if (agent == ROTA_NONE)
        return NULL;
    rota_core_agent_view_t view;
    rota_core_agent_view (self->core, agent, &view);
    return view.name;
}

/* ---------------------------------------------------------------------------------- from the store */

static void load_source (void *owner, uint32_t index, const char *name, size_t length, const uint8_t *header,
                         size_t size)
{
    service_t *self = owner;
    source_t *source = source_at (self, index);
    if (!source || source->name)
        return;
    source->name = strndup (name, length);
    source->name_length = length;
    source->header = malloc (size + 1);
    if (source->header && size)
        memcpy (source->header, header, size);
    source->header_size = size;
    if (!source->name || !source->header)
        rota_service_fail (self, -ENOMEM, "no memory");
    else
        rota_core_name_source (self->core, index, source->name);
}

static void load_conversation (void *owner, const uint8_t id[16], uint64_t low, const uint8_t *window,
                               size_t size, int64_t used_ms)
{
    service_t *self = owner;
    if (rota_answers_load (self->answers, id, low, window, size, used_ms) < 0)
        rota_log (ROTA_LOG_ERROR, "conversation.damaged", "low=%llu", (unsigned long long)low);
}

static void load_agent_version (void *owner, rota_agent_t agent, const char *version)
{
    service_t *self = owner;
    while (self->agent_versions.count <= agent)
        if (!VPUSH (self, agent_versions))
            return;
    free (self->agent_versions.items[agent]);
    self->agent_versions.items[agent] = strdup (version);
}

void rota_service_free_names (service_t *self)
{
    for (size_t i = 0; i < self->sources.count; i++) {
        free (self->sources.items[i].name);
        free (self->sources.items[i].header);
        free (self->sources.items[i].place);
    }
    for (size_t i = 0; i < self->agent_versions.count; i++)
        free (self->agent_versions.items[i]);
    for (size_t i = 0; i < self->agent_problems.count; i++)
        free (self->agent_problems.items[i]);
    self->sources.count = self->agent_versions.count = self->agent_problems.count = 0;
    self->agent_uses.count = 0;
}

int rota_service_rebuild (service_t *self, rota_error_t *error)
{
    rota_store_load_t load = {
        .owner = self,
        .on_source = load_source,
        .on_conversation = load_conversation,
        .on_agent_version = load_agent_version,
    };
    int64_t now_ms = rota_service_now_ms (self);
    rota_import_destroy (&self->import);
    rota_core_destroy (&self->core);
    rota_answers_destroy (&self->answers);
    rota_service_free_names (self);
    self->core = rota_core_new (&self->policy, now_ms);
    self->answers = rota_answers_new ();
    if (!self->core || !self->answers)
        return rota_error_set (error, -ENOMEM, "no memory");
    int r = rota_store_load (self->store, self->core, &load, now_ms, error);
    if (r < 0)
        return r;
    for (uint32_t i = 1; i < self->sources.count; i++)
        apply_header (self, i);
    self->classes_stored = rota_core_class_count (self->core);
    self->published_head = rota_store_last_event (self->store);
    self->sink_cursor = self->sink_cursor_stored =
        (uint64_t)rota_store_number (self->store, "sink_cursor", 0);
    rota_core_pause (self->core, rota_store_number (self->store, "paused", 0) != 0, now_ms);
    rota_store_load_coordinator (self->store, self->core);
    rota_store_load_health (self->store, self->core);
    self->settled.count = 0;
    r = rota_budget_load (self, error);
    if (r < 0)
        return r;
    self->quiet_until_ms = 0;
    self->told_candidates = 0;
    self->settled_version = 0;
    self->rebuilt_ms = now_ms;
    rota_core_effects_clear (self->core);
    self->agent_peer_count = 0;
    return 0;
}

/* ---------------------------------------------------------------------------------------- settings */

static rota_gate_policy_t gate_policy (const char *word)
{
    return strcmp (word, "fail") == 0    ? ROTA_GATE_FAILS
           : strcmp (word, "human") == 0 ? ROTA_GATE_ASKS
                                         : ROTA_GATE_PASSES;
}

void rota_service_read_policy (service_t *self)
{
    const rota_settings_t *s = self->config.settings;
    rota_core_policy_default (&self->policy);
    self->policy.lease_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_LEASE);
    self->policy.lease_margin_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_LEASE_MARGIN);
    self->policy.backoff_base_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_BACKOFF_BASE);
    self->policy.backoff_max_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_BACKOFF_MAX);
    self->policy.backoff_jitter_percent =
        (int)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_BACKOFF_JITTER);
    self->policy.default_attempts = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_ATTEMPTS);
    self->policy.free_tries = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_FREE_TRIES);
    self->policy.merge_batch = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_MERGE_BATCH);
    self->policy.quality_min = 10 * (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_QUALITY_MIN);
    self->policy.quality_improves =
        strcmp (rota_setting_text (s, ROTA_SETTING_SCHEDULER_QUALITY_BELOW), "improve") == 0;
    self->policy.flaky = gate_policy (rota_setting_text (s, ROTA_SETTING_SCHEDULER_FLAKY));
    self->policy.uncheckable = gate_policy (rota_setting_text (s, ROTA_SETTING_SCHEDULER_UNCHECKABLE));
    self->policy.review_rounds = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_REVIEW_ROUNDS);
    self->policy.step_tries = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_REVIEW_TRIES);
    self->policy.review_patience_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_REVIEW_PATIENCE);
    const char *claims = rota_claims_policy (self, NULL);
    self->policy.claims = strcmp (claims, "strict") == 0 || strcmp (claims, "hold") == 0;
    self->policy.claims_of_epic =
        strcmp (rota_setting_text (s, ROTA_SETTING_SCHEDULER_CLAIMS_LEARN), "epic") == 0;
    self->policy.claim_patience_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_CLAIM_PATIENCE);
    self->policy.wip_limit = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WIP_LIMIT);
    self->policy.wip_agent = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WIP_AGENT);
    self->policy.wip_epic = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WIP_EPIC);
    self->policy.prefer = rota_setting_list (s, ROTA_SETTING_SCHEDULER_PREFER, NULL);
    self->policy.prefer_complex = rota_setting_list (s, ROTA_SETTING_SCHEDULER_PREFER_COMPLEX, NULL);
    self->policy.coordinate = rota_setting_boolean (s, ROTA_SETTING_SCHEDULER_COORDINATOR);
    self->policy.failback_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_FAILBACK);
    self->policy.complex_from = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_COMPLEX_FROM);
    self->policy.default_cooldown_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_COOLDOWN);
    self->policy.capacity_cooldown_ms =
        rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_COOLDOWN_CAPACITY);
    self->policy.cooldown_guess_max_ms =
        rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_COOLDOWN_GUESS_MAX);
    self->policy.cooldown_floor_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_COOLDOWN_FLOOR);
    self->policy.cooldown_ceiling_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_COOLDOWN_CEILING);
    self->policy.cooldown_margin_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_COOLDOWN_MARGIN);
    self->policy.no_auto_resume = !rota_setting_boolean (s, ROTA_SETTING_SCHEDULER_AUTO_RESUME);
    self->policy.weight.priority_s =
        (int32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WEIGHT_PRIORITY);
    self->policy.weight.review_s = (int32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WEIGHT_REVIEW);
    self->policy.weight.fixup_s = (int32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WEIGHT_FIXUP);
    self->policy.weight.unblocks_s =
        (int32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WEIGHT_UNBLOCKS);
    self->policy.weight.small_s = (int32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WEIGHT_SMALL);
    const char *mode = rota_setting_text (s, ROTA_SETTING_SCHEDULER_MODE);
    rota_mode_t pinned = rota_mode_parse (mode, strlen (mode));
    self->policy.mode.pinned = pinned == ROTA_MODES ? -1 : (int)pinned;
    self->policy.mode.half_life_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_MODE_HALF_LIFE);
    self->policy.mode.dwell_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_MODE_DWELL);
    self->policy.mode.samples = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_MODE_SAMPLES);
    self->policy.mode.share = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_MODE_SHARE);
}

static int read_rules (service_t *self, rota_error_t *error)
{
    static const struct {
        rota_setting_t setting;
        Rota__ResultClass class;
        const char *key;
    } RULES[] = {
#define RULE(CLASS, key, reason, standard, doc) {ROTA_SETTING_RESILIENCE_##CLASS, RESULT (CLASS), key},
#include "bus/resilience.def"
#undef RULE
    };
    for (size_t i = 0; i < sizeof RULES / sizeof RULES[0]; i++) {
        rota_error_t why = {""};
        int r = rota_rule_parse (rota_setting_text (self->config.settings, RULES[i].setting),
                                 &self->policy.rules[RULES[i].class], &why);
        if (r < 0)
            return rota_error_set (error, r, "resilience.%s: %s", RULES[i].key, why.text);
    }
    return 0;
}

int rota_service_read_resilience (service_t *self, rota_error_t *error)
{
    const rota_settings_t *s = self->config.settings;
    rota_core_policy_t *policy = &self->policy;
    policy->coordinator_after = (uint32_t)rota_setting_integer (s, ROTA_SETTING_RESILIENCE_COORDINATOR_AFTER);
    policy->give_up_after = (uint32_t)rota_setting_integer (s, ROTA_SETTING_RESILIENCE_GIVE_UP_AFTER);
    policy->breaker_failures = (uint32_t)rota_setting_integer (s, ROTA_SETTING_RESILIENCE_BREAKER_FAILURES);
    policy->breaker_window_ms = rota_setting_duration_ms (s, ROTA_SETTING_RESILIENCE_BREAKER_WINDOW);
    policy->breaker_rest_ms = rota_setting_duration_ms (s, ROTA_SETTING_RESILIENCE_BREAKER_REST);
    policy->breaker_rest_max_ms = rota_setting_duration_ms (s, ROTA_SETTING_RESILIENCE_BREAKER_REST_MAX);
    return read_rules (self, error);
}

int rota_service_read_quiet_hours (service_t *self, rota_error_t *error)
{
    rota_error_t why = {""};
    int r = rota_quiet_parse (rota_setting_text (self->config.settings, ROTA_SETTING_SCHEDULER_QUIET_HOURS),
                              &self->quiet, &why);
    return r < 0 ? rota_error_set (error, r, "scheduler.quiet_hours: %s", why.text) : 0;
}
