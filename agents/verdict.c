#include "agents/verdict.h"

#include "agents/fence_word.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define TRIES_MAX 2000

static const char *const SEVERITIES[] = {"note", "minor", "major", "blocker"};
enum { NOTE, MINOR, MAJOR, BLOCKER };

/* Cut between characters. */
static json_t *bounded (const json_t *text, size_t most)
{
    const char *bytes = json_is_string (text) ? json_string_value (text) : "";
    size_t length = json_is_string (text) ? json_string_length (text) : 0;
    if (length > most) {
        length = most;
        while (length && ((unsigned char)bytes[length] & 0xc0) == 0x80)
            length--;
    }
    return json_stringn (bytes, length);
}

static int severity_of (const json_t *comment)
{
    const char *word = json_string_value (json_object_get (comment, "severity"));
    for (int i = 0; word && i <= BLOCKER; i++)
        if (strcmp (word, SEVERITIES[i]) == 0)
            return i;
    return MINOR;
}

static json_t *comment_of (const json_t *given, bool *blocks)
{
    int severity = severity_of (given);
    json_int_t line = json_integer_value (json_object_get (given, "line"));
    *blocks |= severity == BLOCKER;
    return json_pack ("{s:o, s:I, s:s, s:o}", "file", bounded (json_object_get (given, "file"), 500), "line",
                      line > 0 && line < INT32_MAX ? line : 0, "severity", SEVERITIES[severity], "text",
                      bounded (json_object_get (given, "text"), ROTA_VERDICT_TEXT_MAX_BYTES));
}

static json_t *comments_of (const json_t *given, bool *blocks)
{
    json_t *comments = json_array ();
    for (size_t i = 0; i < json_array_size (given) && i < ROTA_VERDICT_COMMENTS_MAX; i++)
        if (json_is_object (json_array_get (given, i)))
            json_array_append_new (comments, comment_of (json_array_get (given, i), blocks));
    return comments;
}

/* {"correctness": 8, ...}: whole numbers from 0 to 10 under short names. */
static json_t *scores_of (const json_t *given)
{
    json_t *scores = json_object (), *value;
    const char *name;
    json_object_foreach ((json_t *)given, name, value)
    {
        double number = json_number_value (value);
        if (json_object_size (scores) < ROTA_VERDICT_SCORES_MAX && json_is_number (value) && number >= 0 &&
            number <= 10 && *name && strlen (name) < ROTA_VERDICT_SCORE_BYTES)
            json_object_set_new (scores, name, json_integer ((json_int_t)(number + 0.5)));
    }
    return scores;
}

/* NULL when the object is no verdict of that review. */
static json_t *verdict_of (const json_t *object, const char *of_review)
{
    const char *said = json_string_value (json_object_get (object, "review"));
    const char *word = json_string_value (json_object_get (object, "verdict"));
    const json_t *score = json_object_get (object, "score");
    bool approved = word && strcmp (word, "approve") == 0, blocks = false;
    if (!said || strcmp (said, of_review) != 0)
        return NULL;
    if (!approved && (!word || strcmp (word, "changes") != 0))
        return NULL;
    json_t *comments = comments_of (json_object_get (object, "comments"), &blocks);
    json_t *verdict = json_pack ("{s:b, s:o, s:o}", "approved", approved && !blocks, "summary",
                                 bounded (json_object_get (object, "summary"), ROTA_VERDICT_TEXT_MAX_BYTES),
                                 "comments", comments);
    double value = json_number_value (score);
    if (verdict && json_is_number (score) && value >= 0 && value <= 100)
        json_object_set_new (verdict, "score", json_integer ((json_int_t)value));
    if (verdict && json_is_object (json_object_get (object, "scores")))
        json_object_set_new (verdict, "scores", scores_of (json_object_get (object, "scores")));
    return verdict;
}

void rota_verdict_word (char ret_word[ROTA_VERDICT_WORD_BYTES])
{
    char word[ROTA_FENCE_BYTES];
    rota_fence_word ("", 0, word);
    memcpy (ret_word, word, ROTA_VERDICT_WORD_BYTES - 1);
    ret_word[ROTA_VERDICT_WORD_BYTES - 1] = '\0';
}

json_t *rota_verdict_find (const char *answer, size_t size_bytes, const char *word)
{
    const char *end = answer + size_bytes, *at = end;
    json_t *found = NULL;
    for (int i = 0; i < TRIES_MAX && (at = memrchr (answer, '{', (size_t)(at - answer))); i++) {
        json_t *object =
            json_loadb (at, (size_t)(end - at), JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, NULL);
        json_t *verdict = json_is_object (object) ? verdict_of (object, word) : NULL;
        json_decref (object);
        if (!verdict)
            continue;
        bool approved = json_is_true (json_object_get (verdict, "approved"));
        if (found && approved) {
            json_decref (verdict); /* the later one says so too */
            continue;
        }
        json_decref (found);
        found = verdict;
        if (!approved)
            break;
    }
    return found;
}
