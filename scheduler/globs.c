#include "scheduler/globs.h"

#include <stdint.h>
#include <string.h>

#define TOKENS_MAX 1024

/* A byte means itself. */
enum { ANY_ONE = 256, STAR, STAR_STAR };

typedef struct {
    uint16_t items[TOKENS_MAX + 2];
    size_t count;
    bool directory; /* it says so itself */
} tokens_t;

/* Behind the bracket that ends the set at `at`, or 0 when nothing does. */
static size_t skip_set (const char *text, size_t length, size_t at)
{
    size_t i = at + 1;
    i += i < length && (text[i] == '!' || text[i] == '^');
    i += i < length && text[i] == ']';
    while (i < length && text[i] != ']')
        i++;
    return i < length ? i + 1 : 0;
}

static void read_stars (const char *text, size_t length, size_t *at, tokens_t *tokens)
{
    size_t start = *at, i = start;
    while (i < length && text[i] == '*')
        i++;
    bool whole = i - start > 1;
    tokens->items[tokens->count++] = whole ? STAR_STAR : STAR;
    /* Between slashes it may be no directory at all. */
    if (whole && i < length && text[i] == '/')
        i++;
    *at = i;
}

static bool reads (const char *text, size_t length, tokens_t *tokens)
{
    for (size_t i = 0; i < length;) {
        if (tokens->count == TOKENS_MAX)
            return false;
        uint16_t *next = &tokens->items[tokens->count];
        size_t end = text[i] == '[' ? skip_set (text, length, i) : 0;
        const char *brace = text[i] == '{' ? memchr (text + i, '}', length - i) : NULL;
        if (text[i] == '*') {
            read_stars (text, length, &i, tokens);
            continue;
        }
        if (end || text[i] == '?') {
            *next = ANY_ONE;
            i = end ? end : i + 1;
        } else if (brace) {
            *next = STAR_STAR;
            i = (size_t)(brace - text) + 1;
        } else {
            i += text[i] == '\\' && i + 1 < length;
            *next = (unsigned char)text[i++];
        }
        tokens->count++;
    }
    return true;
}

static void tokenize (const char *text, size_t length, tokens_t *tokens)
{
    static const uint16_t ANYTHING = STAR_STAR;
    tokens->count = 0;
    while (length && (*text == '/' || (length > 1 && text[0] == '.' && text[1] == '/'))) {
        size_t skipped = *text == '/' ? 1 : 2;
        text += skipped;
        length -= skipped;
    }
    bool directory = length && text[length - 1] == '/';
    while (length && text[length - 1] == '/')
        length--;
    bool wild = false;
    for (size_t i = 0; i < length; i++)
        wild |= strchr ("*?[{", text[i]) != NULL;
    if (wild && !memchr (text, '/', length))
        tokens->items[tokens->count++] = STAR_STAR;
    bool whole = length == 0 || (length == 1 && *text == '.') || *text == '!';
    if (whole || !reads (text, length, tokens)) {
        tokens->items[0] = ANYTHING;
        tokens->count = 1;
    }
    tokens->directory = directory;
}

static bool is_star (uint16_t token)
{
    return token == STAR || token == STAR_STAR;
}

/* Whether one byte can be both. */
static bool meet (uint16_t a, uint16_t b)
{
    if (a < 256 && b < 256)
        return a == b;
    if (a < 256 || b < 256) {
        uint16_t byte = a < 256 ? a : b, wild = a < 256 ? b : a;
        return wild == STAR_STAR || byte != '/';
    }
    return true;
}

/* Both read the same path at once; `reached` holds where in `b` that is possible for one place in `a`. */
static bool intersect (const tokens_t *a, const tokens_t *b)
{
    uint8_t rows[2][TOKENS_MAX + 3] = {{0}};
    uint8_t *here = rows[0], *next = rows[1];
    here[0] = 1;
    for (size_t i = 0; i <= a->count; i++) {
        memset (next, 0, b->count + 1);
        for (size_t j = 0; j <= b->count; j++) {
            if (!here[j])
                continue;
            bool more_a = i < a->count, more_b = j < b->count;
            if (more_a && is_star (a->items[i]))
                next[j] = 1;
            if (more_b && is_star (b->items[j]))
                here[j + 1] = 1;
            if (!more_a || !more_b || !meet (a->items[i], b->items[j]))
                continue;
            uint8_t *row = is_star (a->items[i]) ? here : next;
            row[is_star (b->items[j]) ? j : j + 1] = 1;
        }
        if (i == a->count)
            return here[b->count];
        uint8_t *swap = here;
        here = next;
        next = swap;
    }
    return false;
}

/* "*.c" in every directory must not meet "src/a.h" because that might be a directory with a .c in it. */
static bool is_file_beside (const tokens_t *name, const tokens_t *wild)
{
    size_t at = name->count;
    if (name->directory || wild->count < 2 || wild->items[0] != STAR_STAR || wild->items[1] == '/')
        return false;
    for (size_t i = 0; i < wild->count; i++)
        if (wild->items[i] == '/')
            return false;
    while (at > 0 && name->items[at - 1] < 256 && name->items[at - 1] != '.' && name->items[at - 1] != '/')
        at--;
    return at > 1 && at < name->count && name->items[at - 1] == '.' && name->items[at - 2] != '/';
}

static bool meet_below (tokens_t *a, const tokens_t *b)
{
    if (is_file_beside (a, b))
        return false;
    a->items[a->count++] = '/';
    a->items[a->count++] = STAR_STAR;
    bool meets = intersect (a, b);
    a->count -= 2;
    return meets;
}

/* Most pairs differ in a byte that both name: that is seen without more. */
static bool differ_at_once (const char *a, size_t a_length, const char *b, size_t b_length)
{
    static const char SPECIAL[] = "*?[{!\\./";
    if (!a_length || !b_length || strchr (SPECIAL, *a) || strchr (SPECIAL, *b))
        return false;
    /* Without a slash a wildcard is meant everywhere. */
    if (!memchr (a, '/', a_length) || !memchr (b, '/', b_length))
        return false;
    for (size_t i = 0; i < a_length && i < b_length; i++) {
        if (strchr ("*?[{\\", a[i]) || strchr ("*?[{\\", b[i]))
            return false;
        if (a[i] != b[i])
            return true;
    }
    return false;
}

bool rota_glob_overlap (const char *a, size_t a_length, const char *b, size_t b_length)
{
    tokens_t left, right;
    if (differ_at_once (a, a_length, b, b_length))
        return false;
    tokenize (a, a_length, &left);
    tokenize (b, b_length, &right);
    return intersect (&left, &right) || meet_below (&left, &right) || meet_below (&right, &left);
}

bool rota_globs_overlap (const char *a, const char *b, rota_globs_pair_t *ret_pair)
{
    for (const char *x = a; *x;) {
        size_t x_length = strcspn (x, "\n");
        for (const char *y = b; *y && x_length;) {
            size_t y_length = strcspn (y, "\n");
            if (y_length && rota_glob_overlap (x, x_length, y, y_length)) {
                *ret_pair = (rota_globs_pair_t){x, y, x_length, y_length};
                return true;
            }
            y += y_length + (y[y_length] == '\n');
        }
        x += x_length + (x[x_length] == '\n');
    }
    return false;
}

size_t rota_globs_join (const ProtobufCBinaryData *paths, size_t count, size_t most, char *ret_list)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        const ProtobufCBinaryData *it = &paths[i];
        if (!it->len || memchr (it->data, '\n', it->len) || memchr (it->data, 0, it->len))
            continue;
        if (it->len + (used > 0) > most - used) {
            memcpy (ret_list, "**", used = 2);
            break;
        }
        if (used)
            ret_list[used++] = '\n';
        memcpy (ret_list + used, it->data, it->len);
        used += it->len;
    }
    ret_list[used] = '\0';
    return used;
}
