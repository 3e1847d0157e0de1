#include "cli/render.h"

#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#define GAP_COLUMNS 2
#define FLEXIBLE_MIN_COLUMNS 12

typedef struct {
    char *text;
    rota_style_t style;
} cell_t;

struct rota_table {
    const rota_column_t *columns;
    size_t count;
    unsigned *widths;
    cell_t *cells;
    size_t cell_count;
    size_t cell_capacity;
    bool titled;
};

void rota_screen_init (rota_screen_t *self, FILE *stream)
{
    const char *no_colour = getenv ("NO_COLOR"), *term = getenv ("TERM");
    bool dumb = !term || !*term || strcmp (term, "dumb") == 0;

    self->stream = stream;
    self->terminal = isatty (fileno (stream)) == 1;
    self->live = self->terminal && !dumb;
    self->colour = self->live && !(no_colour && *no_colour);
    self->unicode = strcmp (nl_langinfo (CODESET), "UTF-8") == 0;
}

static bool window (const rota_screen_t *self, struct winsize *ret_size)
{
    return self->terminal && ioctl (fileno (self->stream), TIOCGWINSZ, ret_size) == 0;
}

unsigned rota_screen_columns (const rota_screen_t *self)
{
    struct winsize size;
    if (!self->terminal)
        return 0;
    return window (self, &size) && size.ws_col > 0 ? size.ws_col : 80;
}

unsigned rota_screen_rows (const rota_screen_t *self)
{
    struct winsize size;
    if (!self->terminal)
        return 0;
    return window (self, &size) && size.ws_row > 0 ? size.ws_row : 24;
}

const char *rota_style (const rota_screen_t *screen, rota_style_t style)
{
    static const char *const CODES[] = {
        [ROTA_STYLE_PLAIN] = "",        [ROTA_STYLE_BOLD] = "\033[1m",   [ROTA_STYLE_DIM] = "\033[2m",
        [ROTA_STYLE_RED] = "\033[31m",  [ROTA_STYLE_GREEN] = "\033[32m", [ROTA_STYLE_YELLOW] = "\033[33m",
        [ROTA_STYLE_BLUE] = "\033[34m", [ROTA_STYLE_CYAN] = "\033[36m",  [ROTA_STYLE_BOLD_RED] = "\033[1;31m",
    };
    return screen->colour ? CODES[style] : "";
}

const char *rota_style_end (const rota_screen_t *screen)
{
    return screen->colour ? "\033[0m" : "";
}

rota_style_t rota_status_style (Rota__TaskStatus status)
{
    switch (status) {
    case ROTA__TASK_STATUS__TASK_STATUS_DONE:
        return ROTA_STYLE_GREEN;
    case ROTA__TASK_STATUS__TASK_STATUS_FAILED:
        return ROTA_STYLE_RED;
    case ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS:
    case ROTA__TASK_STATUS__TASK_STATUS_IN_REVIEW:
        return ROTA_STYLE_CYAN;
    case ROTA__TASK_STATUS__TASK_STATUS_BLOCKED:
    case ROTA__TASK_STATUS__TASK_STATUS_CANCELLED:
    case ROTA__TASK_STATUS__TASK_STATUS_NEEDS_REVIEW:
    case ROTA__TASK_STATUS__TASK_STATUS_NEEDS_IMPROVEMENT:
        return ROTA_STYLE_YELLOW;
    default:
        return ROTA_STYLE_PLAIN;
    }
}

/* Bytes of the UTF-8 character at `bytes`, 0 if it is none; overlong forms and surrogates are none. */
static size_t decode (const uint8_t *bytes, size_t length, uint32_t *ret_code)
{
    static const uint32_t SMALLEST[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = bytes[0] < 0x80    ? 1
                  : bytes[0] >= 0xf0 ? 4
                  : bytes[0] >= 0xe0 ? 3
                  : bytes[0] >= 0xc0 ? 2
                                     : 0;

    if (size == 0 || size > length || bytes[0] > 0xf4)
        return 0;
    uint32_t code = size == 1 ? bytes[0] : bytes[0] & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (bytes[i] & 0x3f);
    }
    if (code < SMALLEST[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *ret_code = code;
    return size;
}

static bool harmful (uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || /* C0, DEL, C1 */
           (code >= 0x200e && code <= 0x200f) ||           /* direction marks */
           (code >= 0x2028 && code <= 0x202e) ||           /* separators, embeddings, overrides */
           (code >= 0x2066 && code <= 0x2069) ||           /* isolates */
           code == 0x061c || code == 0xfeff || (code >= 0xe0000 && code <= 0xe007f);
}

/* Bytes of a whole colour or cursor sequence (CSI) at `bytes`, else 0. */
static size_t sequence (const uint8_t *bytes, size_t length)
{
    size_t size = 2;
    if (length < 3 || bytes[0] != 0x1b || bytes[1] != '[')
        return 0;
    while (size < length && bytes[size] >= 0x20 && bytes[size] <= 0x3f)
        size++;
    return size < length && bytes[size] >= 0x40 && bytes[size] <= 0x7e ? size + 1 : 0;
}

char *rota_clean (const void *bytes, size_t length, bool lines)
{
    const uint8_t *from = bytes;
    char *text = malloc (length + 1), *to = text;

    if (!text)
        return NULL;
    while (length > 0) {
        uint32_t code = 0;
        size_t skipped = lines ? sequence (from, length) : 0, size = decode (from, length, &code);
        bool blank = size > 0 && (code == '\n' || code == '\t' || (lines && code == '\r'));
        if (skipped > 0) {
            size = skipped;
        } else if (blank) {
            bool pair = code == '\r' && length > 1 && from[1] == '\n';
            if (!pair) /* a carriage return alone rewrites its line: here it begins the next one */
                *to++ = !lines ? ' ' : code == '\t' ? '\t' : '\n';
        } else if (size > 0 && !harmful (code)) {
            to = mempcpy (to, from, size);
        } else {
            *to++ = '?';
        }
        from += size ? size : 1;
        length -= size ? size : 1;
    }
    *to = '\0';
    return text;
}

char *rota_clean_bytes (bool present, ProtobufCBinaryData bytes)
{
    return present ? rota_clean (bytes.data, bytes.len, false) : rota_clean ("", 0, false);
}

/* Columns of one character. Outside a UTF-8 locale the C library knows none of them: one each. */
static unsigned columns_of (uint32_t code)
{
    int columns = wcwidth ((wchar_t)code);
    return columns >= 0 ? (unsigned)columns : 1;
}

unsigned rota_text_columns (const char *text)
{
    size_t length = strlen (text);
    unsigned columns = 0;
    while (length > 0) {
        uint32_t code = '?';
        size_t size = decode ((const uint8_t *)text, length, &code);
        columns += columns_of (code);
        text += size ? size : 1;
        length -= size ? size : 1;
    }
    return columns;
}

size_t rota_text_fit (const char *text, unsigned columns)
{
    size_t length = strlen (text), used = 0;
    unsigned taken = 0;
    while (used < length) {
        uint32_t code = '?';
        size_t size = decode ((const uint8_t *)text + used, length - used, &code);
        taken += columns_of (code);
        if (taken > columns)
            break;
        used += size ? size : 1;
    }
    return used;
}

unsigned rota_text_put (FILE *stream, const rota_screen_t *screen, const char *text, unsigned columns,
                        bool fill)
{
    const char *ellipsis = screen->unicode ? "\u2026" : "..";
    unsigned ellipsis_columns = screen->unicode ? 1 : 2, whole = rota_text_columns (text);

    if (whole <= columns) {
        fprintf (stream, "%s%*s", text, fill ? (int)(columns - whole) : 0, "");
        return fill ? columns : whole;
    }
    if (columns < ellipsis_columns)
        return (unsigned)fprintf (stream, "%*s", fill ? (int)columns : 0, "");
    size_t length = rota_text_fit (text, columns - ellipsis_columns);
    fwrite (text, 1, length, stream);
    fputs (ellipsis, stream);
    char *kept = strndup (text, length);
    unsigned taken = (kept ? rota_text_columns (kept) : columns - ellipsis_columns) + ellipsis_columns;
    free (kept);
    if (fill && taken < columns)
        taken += (unsigned)fprintf (stream, "%*s", (int)(columns - taken), "");
    return taken;
}

rota_table_t *rota_table_new (const rota_column_t *columns, size_t count)
{
    rota_table_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->columns = columns;
    self->count = count;
    self->widths = calloc (count, sizeof *self->widths);
    if (!self->widths)
        rota_table_destroy (&self);
    return self;
}

static void drop_cells (rota_table_t *self)
{
    for (size_t i = 0; i < self->cell_count; i++)
        free (self->cells[i].text);
    self->cell_count = 0;
}

void rota_table_destroy (rota_table_t **self_p)
{
    rota_table_t *self = *self_p;
    if (!self)
        return;
    drop_cells (self);
    free (self->cells);
    free (self->widths);
    free (self);
    *self_p = NULL;
}

void rota_table_add (rota_table_t *self, rota_style_t style, const void *bytes, size_t length)
{
    if (self->cell_count == self->cell_capacity) {
        size_t capacity = self->cell_capacity ? self->cell_capacity * 2 : 64;
        cell_t *cells = realloc (self->cells, capacity * sizeof *cells);
        if (!cells)
            return;
        self->cells = cells;
        self->cell_capacity = capacity;
    }
    char *text = rota_clean (bytes, length, false);
    size_t column = self->cell_count % self->count;
    unsigned width = text ? rota_text_columns (text) : 0;
    if (width > self->widths[column])
        self->widths[column] = width;
    self->cells[self->cell_count++] = (cell_t){text, style};
}

void rota_table_addf (rota_table_t *self, rota_style_t style, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start (arguments, format);
    int length = vsnprintf (text, sizeof text, format, arguments);
    va_end (arguments);
    rota_table_add (self, style, text, length < 0 ? 0 : strnlen (text, sizeof text));
}

/* Takes from the flexible columns, widest first, what the terminal hasn't got. */
static void squeeze (const rota_table_t *self, unsigned *widths, unsigned columns)
{
    unsigned total = (unsigned)(self->count - 1) * GAP_COLUMNS;
    for (size_t i = 0; i < self->count; i++)
        total += widths[i];
    while (total > columns) {
        size_t widest = self->count;
        for (size_t i = 0; i < self->count; i++)
            if (self->columns[i].flexible && widths[i] > FLEXIBLE_MIN_COLUMNS &&
                (widest == self->count || widths[i] > widths[widest]))
                widest = i;
        if (widest == self->count)
            return;
        widths[widest]--;
        total--;
    }
}

static void put_cell (const rota_table_t *self, const rota_screen_t *screen, size_t column, unsigned width,
                      const cell_t *cell)
{
    const char *text = cell->text ? cell->text : "";
    unsigned taken = rota_text_columns (text);
    bool last = column + 1 == self->count;
    bool right = self->columns[column].right;

    if (right && taken < width)
        fprintf (screen->stream, "%*s", (int)(width - taken), "");
    fputs (rota_style (screen, cell->style), screen->stream);
    rota_text_put (screen->stream, screen, text, width, !last && !right);
    if (cell->style != ROTA_STYLE_PLAIN)
        fputs (rota_style_end (screen), screen->stream);
    fprintf (screen->stream, "%s", last ? "\n" : "  ");
}

void rota_table_flush (rota_table_t *self, const rota_screen_t *screen)
{
    unsigned columns = rota_screen_columns (screen);
    unsigned *widths = calloc (self->count, sizeof *widths);
    if (!widths)
        return;
    for (size_t i = 0; i < self->count; i++) {
        unsigned title = rota_text_columns (self->columns[i].title);
        if (self->widths[i] < title && self->cell_count > 0)
            self->widths[i] = title;
        widths[i] = self->widths[i];
    }
    if (columns > 0)
        squeeze (self, widths, columns);
    for (size_t i = 0; i < self->count && !self->titled && self->cell_count > 0; i++) {
        char title[64];
        snprintf (title, sizeof title, "%s", self->columns[i].title);
        put_cell (self, screen, i, widths[i], &(cell_t){title, ROTA_STYLE_DIM});
    }
    self->titled |= self->cell_count > 0;
    for (size_t i = 0; i < self->cell_count; i++)
        put_cell (self, screen, i % self->count, widths[i % self->count], &self->cells[i]);
    drop_cells (self);
    free (widths);
}

void rota_bar_put (FILE *stream, const rota_screen_t *screen, const rota_bar_part_t *parts, size_t count,
                   uint64_t total, unsigned columns)
{
    const char *full = screen->unicode ? "\u2588" : "#", *empty = screen->unicode ? "\u2591" : "-";
    unsigned put = 0;
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += parts[i].amount;
        /* Rounded down: the bar is full only when all is. */
        unsigned until = total ? (unsigned)((double)columns * ((double)sum / (double)total)) : 0;
        if (until > columns)
            until = columns;
        fputs (rota_style (screen, parts[i].style), stream);
        for (; put < until; put++)
            fputs (full, stream);
        fputs (rota_style_end (screen), stream);
    }
    fputs (rota_style (screen, ROTA_STYLE_DIM), stream);
    for (; put < columns; put++)
        fputs (empty, stream);
    fputs (rota_style_end (screen), stream);
}

const char *rota_plural (uint64_t amount, const char *word, char ret_text[48])
{
    size_t length = strlen (word);
    bool consonant_y = length > 1 && word[length - 1] == 'y' && !strchr ("aeiou", word[length - 2]);
    if (amount != 1 && consonant_y)
        snprintf (ret_text, 48, "%llu %.*sies", (unsigned long long)amount, (int)(length - 1), word);
    else
        snprintf (ret_text, 48, "%llu %s%s", (unsigned long long)amount, word, amount == 1 ? "" : "s");
    return ret_text;
}

char *rota_wait_sentence (const Rota__WaitReason *reason, int64_t now_ms)
{
    static const struct {
        const char *several, *one;
    } VERBS[] = {
        {"wait ", "waits "}, {"await ", "awaits "}, {"are ", "is "}, {"have ", "has "}, {"can't ", "can't "}};
    char *text = rota_clean_bytes (reason->has_text, reason->text), *sentence = NULL, when[24] = "";
    const char *verb = "", *rest = text ? text : "";
    bool counted = false;

    for (size_t i = 0; i < sizeof VERBS / sizeof VERBS[0]; i++) {
        size_t length = strlen (VERBS[i].several);
        if (strncmp (rest, VERBS[i].several, length) == 0) {
            verb = reason->tasks == 1 ? VERBS[i].one : VERBS[i].several;
            rest += length;
            counted = true;
            break;
        }
    }
    if (reason->until_ms > now_ms)
        rota_when (reason->until_ms, now_ms, when);
    int length = counted ? asprintf (&sentence, "%llu %s%s%s%s", (unsigned long long)reason->tasks, verb,
                                     rest, *when ? ", the next until " : "", when)
                         : asprintf (&sentence, "%s", rest);
    free (text);
    return length < 0 ? NULL : sentence;
}

const char *rota_size (uint64_t size_bytes, char ret_text[24])
{
    static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double amount = (double)size_bytes;
    size_t unit = 0;
    while (amount >= 1024 && unit + 1 < sizeof UNITS / sizeof UNITS[0]) {
        amount /= 1024;
        unit++;
    }
    snprintf (ret_text, 24, unit && amount < 100 ? "%.1f %s" : "%.0f %s", amount, UNITS[unit]);
    return ret_text;
}

const char *rota_when (int64_t wall_ms, int64_t now_ms, char ret_text[24])
{
    time_t seconds = (time_t)(wall_ms / 1000), now = (time_t)(now_ms / 1000);
    struct tm parts, today;
    snprintf (ret_text, 24, "-");
    if (wall_ms <= 0 || !localtime_r (&seconds, &parts) || !localtime_r (&now, &today))
        return ret_text;
    bool same_day = parts.tm_yday == today.tm_yday && parts.tm_year == today.tm_year;
    if (strftime (ret_text, 24, same_day ? "%H:%M:%S" : "%m-%d %H:%M", &parts) == 0)
        snprintf (ret_text, 24, "-");
    return ret_text;
}
