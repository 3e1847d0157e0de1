/* What went wrong, from the codes that programs and vendors give, the HTTP status, and last the sentence. */
#include "agents/reading_internal.h"
#include "agents/reset_time.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Of the evidence. A code such as "invalid_request" says less than the sentence beside it. */
enum { NOTHING, DEFAULTED, VAGUE, SENTENCE, STATUS_CODE, NAMED };

typedef struct {
    const char *code; /* lower case, letters and digits only: spellings differ between programs */
    Rota__ResultClass result_class;
    Rota__LimitKind kind;
    uint8_t weight;
    bool kind_is_open; /* the sentence may know better which limit it is */
} meaning_t;

#define IS_LIMIT(kind) RESULT (LIMITED), LIMIT (kind), NAMED
#define IS(class) RESULT (class), LIMIT (UNSPECIFIED), NAMED
#define MAY_BE(class) RESULT (class), LIMIT (UNSPECIFIED), VAGUE

/* Claude Code's `error` and `api_error`, ACP's errorKind, Anthropic's and OpenAI's error types,
 * codexErrorInfo in both spellings, Google's status words. */
static const meaning_t CODES[] = {
    {"usagelimitreached", IS_LIMIT (WINDOW), false},
    {"usagelimitexceeded", IS_LIMIT (WINDOW), true}, /* Codex says so of an empty purse too */
    {"ratelimit", IS_LIMIT (BURST), true},
    {"ratelimiterror", IS_LIMIT (BURST), true},
    {"ratelimitexceeded", IS_LIMIT (BURST), true},
    {"resourceexhausted", IS_LIMIT (BURST), true},
    {"billingerror", IS_LIMIT (CREDIT), false},
    {"insufficientquota", IS_LIMIT (CREDIT), false},
    {"quotaexceeded", IS_LIMIT (CREDIT), false},
    {"usagenotincluded", IS_LIMIT (CREDIT), false},
    {"overloaded", IS_LIMIT (CAPACITY), false},
    {"overloadederror", IS_LIMIT (CAPACITY), false},
    {"serveroverloaded", IS_LIMIT (CAPACITY), false},
    {"serverisoverloaded", IS_LIMIT (CAPACITY), false},
    {"internalservererror", IS_LIMIT (CAPACITY), false},
    {"apierror", RESULT (LIMITED), LIMIT (CAPACITY), VAGUE, false},
    {"servererror", RESULT (NETWORK), LIMIT (UNSPECIFIED), VAGUE,
     false}, /* also of timeouts: the status tells */
    {"contextwindowexceeded", IS (CONTEXT_LIMIT), false},
    {"contextlengthexceeded", IS (CONTEXT_LIMIT), false},
    {"contextoverflowerror", IS (CONTEXT_LIMIT), false},
    {"prompttoolong", IS (CONTEXT_LIMIT), false},
    {"requesttoolarge", IS (CONTEXT_LIMIT), false},
    {"authenticationfailed", IS (AUTH), false},
    {"authenticationerror", IS (AUTH), false},
    {"oauthorgnotallowed", IS (AUTH), false},
    {"permissionerror", IS (AUTH), false},
    {"unauthorized", IS (AUTH), false},
    {"unauthenticated", IS (AUTH), false},
    {"permissiondenied", IS (AUTH), false},
    {"invalidapikey", IS (AUTH), false},
    {"modelnotfound", IS (INVALID), false},
    {"notfounderror", MAY_BE (INVALID), false},
    {"invalidrequest", MAY_BE (INVALID), false},
    {"invalidrequesterror", MAY_BE (INVALID), false},
    {"invalidargument", MAY_BE (INVALID), false},
    {"badrequest", MAY_BE (INVALID), false},
    {"timeouterror", IS (NETWORK), false},
    {"deadlineexceeded", IS (NETWORK), false},
    {"connectionerror", MAY_BE (NETWORK), false}, /* Claude Code calls it "unknown" */
    {"httpconnectionfailed", MAY_BE (NETWORK), false},
    {"responsestreamconnectionfailed", MAY_BE (NETWORK), false},
    {"responsestreamdisconnected", MAY_BE (NETWORK), false},
    {"responsetoomanyfailedattempts", MAY_BE (NETWORK), false},
    {"sandboxerror", IS (ENVIRONMENT), false},
};

/* The program's own words before a status, not the vendor's. */
static const char *const BEFORE_STATUS[] = {
    "unexpected status ", "last status: ", "API Error: ", "API Error (", "Request rejected (", "Repeated "};

static bool spells (const char *code, const char *folded)
{
    for (; *code; code++) {
        if (!isalnum ((unsigned char)*code))
            continue;
        if (tolower ((unsigned char)*code) != *folded)
            return false;
        folded++;
    }
    return !*folded;
}

static const meaning_t *meaning_of_code (const char *code)
{
    for (size_t i = 0; code && *code && i < sizeof CODES / sizeof *CODES; i++)
        if (spells (code, CODES[i].code))
            return &CODES[i];
    return NULL;
}

/* The most precise code that says something certain, else the first that says something. */
static meaning_t meaning_of_codes (const char *const codes[3])
{
    meaning_t best = {.weight = NOTHING};
    for (int i = 0; i < 3; i++) {
        const meaning_t *found = meaning_of_code (codes[i]);
        if (found && found->weight > best.weight)
            best = *found;
    }
    return best;
}

static meaning_t meaning_of_status (int status)
{
    meaning_t meaning = {.weight = STATUS_CODE};
    if (status == 429 || status == 402) {
        meaning.result_class = RESULT (LIMITED);
        meaning.kind = status == 429 ? LIMIT (BURST) : LIMIT (CREDIT);
        meaning.kind_is_open = status == 429;
    } else if (status == 401 || status == 403)
        meaning.result_class = RESULT (AUTH);
    else if (status == 413)
        meaning.result_class = RESULT (CONTEXT_LIMIT);
    else if (status == 408 || status == 502 || status == 504)
        meaning.result_class = RESULT (NETWORK);
    else if (status >= 500 && status < 600) {
        meaning.result_class = RESULT (LIMITED);
        meaning.kind = LIMIT (CAPACITY);
    } else if (status >= 400 && status < 500) {
        meaning.result_class = RESULT (INVALID);
        meaning.weight = VAGUE;
    } else
        meaning.weight = NOTHING;
    return meaning;
}

static int status_in_text (const char *text)
{
    for (size_t i = 0; i < sizeof BEFORE_STATUS / sizeof *BEFORE_STATUS; i++) {
        const char *at = strcasestr (text, BEFORE_STATUS[i]);
        if (!at)
            continue;
        at += strlen (BEFORE_STATUS[i]);
        size_t digits = strspn (at, "0123456789");
        if (digits == 3)
            return atoi (at);
    }
    return 0;
}

/* Some programs hand on the vendor's error object as their message. */
static json_t *vendor_error (const char *text)
{
    json_t *root = text[0] == '{' ? rota_reading_parse (text, strlen (text)) : NULL;
    json_t *inner = json_object_get (root, "error");
    json_t *error = json_is_object (inner) ? json_incref (inner) : json_incref (root);
    json_decref (root);
    return error;
}

static meaning_t weigh (const rota_reading_fault_t *fault, const char *text, const rota_limit_match_t *said)
{
    meaning_t meaning = meaning_of_codes (fault->codes);
    if (meaning.weight < STATUS_CODE) {
        meaning_t by_status = meaning_of_status (fault->status ? fault->status : status_in_text (text));
        if (by_status.weight > meaning.weight)
            meaning = by_status;
    }
    if (meaning.weight < SENTENCE && said->result_class != RESULT (UNSPECIFIED))
        meaning =
            (meaning_t){.result_class = said->result_class, .kind = said->limit_kind, .weight = SENTENCE};
    if (meaning.weight == NOTHING)
        meaning = (meaning_t){.result_class = RESULT (FAILED), .weight = DEFAULTED};
    if (meaning.kind_is_open && said->result_class == RESULT (LIMITED) && said->limit_kind)
        meaning.kind = said->limit_kind;
    return meaning;
}

static void note_until (rota_reading_t *reading, const rota_reading_fault_t *fault, const char *text,
                        const rota_limit_match_t *said, int64_t vendor_ms)
{
    int64_t until_ms = fault->until_ms ? fault->until_ms : vendor_ms;
    bool exact = until_ms != 0;
    if (!until_ms && said->result_class == RESULT (LIMITED))
        until_ms = said->until_ms;
    if (!until_ms && said->result_class == RESULT (UNSPECIFIED) &&
        !rota_reset_time_in_text (text, strlen (text), reading->now_ms, reading->zone, &until_ms))
        until_ms = 0;
    reading->until_ms = until_ms;
    reading->inner.exact = exact;
}

/* A moment that came as a number holds against the same limit in vaguer words. */
static bool is_same_limit (const rota_reading_t *reading, const meaning_t *meaning, bool exact)
{
    return reading->inner.exact && !exact && reading->result_class == RESULT (LIMITED) &&
           meaning->result_class == RESULT (LIMITED) && reading->until_ms > reading->now_ms;
}

static void note_meaning (rota_reading_t *reading, const rota_reading_fault_t *fault, const char *text,
                          const json_t *vendor)
{
    rota_limit_match_t said = {.result_class = RESULT (UNSPECIFIED)};
    if (reading->limits && *text)
        rota_limits_match (reading->limits, fault->provider, text, strlen (text), reading->now_ms,
                           reading->zone, &said);
    meaning_t meaning = weigh (fault, text, &said);
    bool known = reading->result_class != RESULT (UNSPECIFIED);
    if (known && !reading->inner.may_pass && meaning.weight < reading->inner.weight)
        return;

    int64_t vendor_ms = rota_reading_moment_ms (reading, vendor, "resets_at");
    bool keep_limit = is_same_limit (reading, &meaning, fault->until_ms || vendor_ms);
    reading->result_class = meaning.result_class;
    reading->inner.weight = meaning.weight;
    reading->inner.may_pass = fault->may_pass;
    reading->inner.speaking = false;
    if (meaning.result_class != RESULT (LIMITED)) {
        reading->limit_kind = LIMIT (UNSPECIFIED);
        reading->until_ms = 0;
        reading->inner.exact = false;
    } else if (!keep_limit) {
        reading->limit_kind = meaning.kind;
        note_until (reading, fault, text, &said, vendor_ms);
    }
    if (*text || !known)
        rota_reading_copy (reading->message, sizeof reading->message, 0, text, strlen (text));
}

void rota_reading_note (rota_reading_t *reading, const rota_reading_fault_t *fault)
{
    rota_reading_fault_t whole = *fault;
    const char *text = fault->text ? fault->text : "";
    json_t *vendor = vendor_error (text);
    if (vendor) {
        const char *message = rota_reading_string (vendor, "message");
        const char *code = rota_reading_string (vendor, "code");
        whole.codes[1] = *code ? code : rota_reading_string (vendor, "status");
        whole.codes[2] = rota_reading_string (vendor, "type");
        double status = rota_reading_number (vendor, "code");
        if (!whole.status && status >= 400 && status < 600)
            whole.status = (int)status;
        text = *message ? message : text;
    }
    note_meaning (reading, &whole, text, vendor);
    json_decref (vendor);
}

void rota_reading_fail (rota_reading_t *reading, Rota__ResultClass result_class, const char *text)
{
    reading->result_class = result_class;
    reading->limit_kind = LIMIT (UNSPECIFIED);
    reading->until_ms = 0;
    reading->inner.weight = NAMED;
    reading->inner.may_pass = reading->inner.exact = reading->inner.speaking = false;
    rota_reading_copy (reading->message, sizeof reading->message, 0, text, strlen (text));
}

void rota_reading_progress (rota_reading_t *reading)
{
    if (reading->inner.may_pass)
        rota_reading_turn (reading);
}

void rota_reading_turn (rota_reading_t *reading)
{
    reading->completed = reading->interrupted = reading->inner.speaking = false;
    if (reading->result_class == RESULT (UNSPECIFIED))
        return;
    reading->result_class = RESULT (UNSPECIFIED);
    reading->limit_kind = LIMIT (UNSPECIFIED);
    reading->until_ms = 0;
    reading->inner.weight = NOTHING;
    reading->inner.may_pass = reading->inner.exact = false;
    reading->message[0] = '\0';
}

void rota_reading_complete (rota_reading_t *reading)
{
    rota_reading_progress (reading);
    reading->completed = true;
    reading->interrupted = false;
}

/* In the place of what was said before, or behind it. Without memory the answer is lost, which is no verdict.
 */
static void keep_answer (rota_last_words_t *answer, bool more, const char *text, size_t size_bytes)
{
    size_t kept = more ? answer->size_bytes : 0;
    if (size_bytes > ROTA_ANSWER_MAX_BYTES) {
        text += size_bytes - ROTA_ANSWER_MAX_BYTES;
        size_bytes = ROTA_ANSWER_MAX_BYTES;
    }
    size_t drop = kept + size_bytes > ROTA_ANSWER_MAX_BYTES ? kept + size_bytes - ROTA_ANSWER_MAX_BYTES : 0;
    if (drop)
        memmove (answer->bytes, answer->bytes + drop, kept - drop);
    kept -= drop;
    char *grown = realloc (answer->bytes, kept + size_bytes + 1);
    if (!grown) {
        free (answer->bytes);
        *answer = (rota_last_words_t){0};
        return;
    }
    memcpy (grown + kept, text, size_bytes);
    grown[kept + size_bytes] = '\0';
    *answer = (rota_last_words_t){grown, kept + size_bytes};
}

void rota_reading_say (rota_reading_t *reading, const char *text, size_t size_bytes)
{
    if (reading->result_class != RESULT (UNSPECIFIED))
        return;
    if (reading->answer)
        keep_answer (reading->answer, reading->inner.speaking, text, size_bytes);
    size_t used = reading->inner.speaking ? strlen (reading->message) : 0;
    rota_reading_copy (reading->message, sizeof reading->message, used, text, size_bytes);
}

void rota_reading_remark (rota_reading_t *reading, const char *text, size_t size_bytes)
{
    if (reading->result_class != RESULT (UNSPECIFIED) || reading->completed)
        return;
    if (reading->inner.speaking)
        rota_reading_copy (reading->remark, sizeof reading->remark, 0, text, size_bytes);
    else
        rota_reading_copy (reading->message, sizeof reading->message, 0, text, size_bytes);
}
