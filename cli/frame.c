/* The live part of a run on a terminal. */
#include "bus/clock.h"
#include "cli/progress_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR_COLUMNS 32
#define HIDE_CURSOR "\033[?25l"
#define SHOW_CURSOR "\033[?25h"

/* Set while a live part hides the cursor: the third Ctrl-C leaves from a signal handler. */
static volatile int hidden_fd = -1;

void rota_progress_restore_terminal (void)
{
    if (hidden_fd < 0)
        return;
    ssize_t written = write (hidden_fd, SHOW_CURSOR, sizeof SHOW_CURSOR - 1);
    (void)written;
}

FILE *rota_frame_above (rota_progress_t *self)
{
    if (!self->cli->out.live || self->cli->json)
        return self->cli->out.stream;
    if (!self->above_stream)
        self->above_stream = open_memstream (&self->above, &self->above_size);
    return self->above_stream ? self->above_stream : self->cli->out.stream;
}

static void erase_frame (rota_progress_t *self, FILE *stream)
{
    if (self->frame_lines > 0)
        fprintf (stream, "\r\033[%uA\033[J", self->frame_lines);
    self->frame_lines = 0;
}

static void flush_above (rota_progress_t *self, FILE *stream)
{
    if (!self->above_stream)
        return;
    fclose (self->above_stream);
    self->above_stream = NULL;
    if (self->above)
        fwrite (self->above, 1, self->above_size, stream);
    free (self->above);
    self->above = NULL;
}

void rota_frame_end (rota_progress_t *self)
{
    FILE *stream = self->cli->out.stream;
    erase_frame (self, stream);
    flush_above (self, stream);
    if (hidden_fd >= 0)
        fputs (SHOW_CURSOR, stream);
    hidden_fd = -1;
    fflush (stream);
}

static uint64_t count_of (const rota_progress_t *self, Rota__TaskStatus status)
{
    return self->counts[status];
}

static void put_bar (const rota_progress_t *self, FILE *stream, unsigned columns)
{
    const rota_screen_t *screen = &self->cli->out;
    uint64_t done = count_of (self, ROTA__TASK_STATUS__TASK_STATUS_DONE),
             failed = count_of (self, ROTA__TASK_STATUS__TASK_STATUS_FAILED),
             stuck = count_of (self, ROTA__TASK_STATUS__TASK_STATUS_BLOCKED) +
                     count_of (self, ROTA__TASK_STATUS__TASK_STATUS_CANCELLED);
    const rota_bar_part_t parts[] = {
        {done, ROTA_STYLE_GREEN},
        {failed, ROTA_STYLE_RED},
        {stuck + self->unreachable, ROTA_STYLE_YELLOW},
        {count_of (self, ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS), ROTA_STYLE_CYAN}};
    char duration[ROTA_CLOCK_DURATION_BYTES], text[160];
    unsigned bar = columns >= BAR_COLUMNS + 40 ? BAR_COLUMNS : columns > 60 ? columns - 40 : 0;

    rota_clock_duration (rota_clock_monotonic_ms () - self->began_ms, duration);
    int length = snprintf (text, sizeof text, "%llu/%llu done", (unsigned long long)done,
                           (unsigned long long)self->total);
    const struct {
        uint64_t amount;
        const char *word;
    } more[] = {{failed, "failed"}, {stuck, "stuck"}, {self->unreachable, "unreachable"}};
    for (size_t i = 0; i < 3; i++)
        if (more[i].amount && length > 0 && (size_t)length < sizeof text)
            length += snprintf (text + length, sizeof text - (size_t)length, ", %llu %s",
                                (unsigned long long)more[i].amount, more[i].word);
    fputc (' ', stream);
    if (bar > 0)
        rota_bar_put (stream, screen, parts, sizeof parts / sizeof parts[0], self->total, bar);
    fprintf (stream, "%s%s", bar ? " " : "", rota_style (screen, ROTA_STYLE_BOLD));
    rota_text_put (stream, screen, text, columns - bar - 4 > columns ? 0 : columns - bar - 4, false);
    fputs (rota_style_end (screen), stream);
    if (columns > bar + strlen (text) + strlen (duration) + 6)
        fprintf (stream, "  %s%s%s", rota_style (screen, ROTA_STYLE_DIM), duration, rota_style_end (screen));
    fputc ('\n', stream);
}

static void put_running (const rota_progress_t *self, FILE *stream, unsigned columns, size_t most)
{
    static const char *const TURNS[] = {"\u280b", "\u2819", "\u2839", "\u2838", "\u283c",
                                        "\u2834", "\u2826", "\u2827", "\u2807", "\u280f"};
    const rota_screen_t *screen = &self->cli->out;
    const char *turn = screen->unicode ? TURNS[self->turns % 10] : "*";
    int64_t now_ms = rota_clock_wall_ms ();
    unsigned id_columns = self->id_columns;

    for (size_t i = 0; i < self->running_count && i < most; i++) {
        unsigned wide = self->running[i].id ? rota_text_columns (self->running[i].id) : 0;
        id_columns = wide > id_columns ? wide : id_columns;
    }
    id_columns = id_columns > columns / 3 ? columns / 3 : id_columns;
    for (size_t i = 0; i < self->running_count && i < most; i++) {
        const running_t *task = &self->running[i];
        char duration[ROTA_CLOCK_DURATION_BYTES], attempt[40] = "";
        bool titled = task->id && task->title && strcmp (task->id, task->title) != 0;
        rota_clock_duration (task->started_ms ? now_ms - task->started_ms : 0, duration);
        if (task->stopping)
            snprintf (attempt, sizeof attempt, "ending");
        else if (task->attempt > 1)
            snprintf (attempt, sizeof attempt, "attempt %u", task->attempt);
        fprintf (stream, " %s%s%s ", rota_style (screen, ROTA_STYLE_CYAN), turn, rota_style_end (screen));
        unsigned used = 3 + rota_text_put (stream, screen, task->id ? task->id : "", id_columns, true);
        fprintf (stream, " %s%9s%s", rota_style (screen, ROTA_STYLE_DIM), duration, rota_style_end (screen));
        used += 1 + (unsigned)(strlen (duration) > 9 ? strlen (duration) : 9);
        if (*attempt)
            used += (unsigned)fprintf (stream, "  %s", attempt);
        if (titled && used + 6 < columns) {
            fputs ("  ", stream);
            rota_text_put (stream, screen, task->title, columns - used - 3, false);
        }
        fputc ('\n', stream);
    }
    if (self->running_total > most)
        fprintf (stream, "   %sand %llu more%s\n", rota_style (screen, ROTA_STYLE_DIM),
                 (unsigned long long)(self->running_total - most), rota_style_end (screen));
}

static char *compose (const rota_progress_t *self)
{
    const rota_screen_t *screen = &self->cli->out;
    unsigned columns = rota_screen_columns (screen), rows = rota_screen_rows (screen);
    char *text = NULL;
    size_t size = 0, most = rows > 8 ? rows - 7 : 1;
    FILE *stream = open_memstream (&text, &size);

    if (!stream)
        return NULL;
    put_bar (self, stream, columns);
    put_running (self, stream, columns, most < RUNNING_MAX ? most : RUNNING_MAX);
    if (self->paused)
        fprintf (stream, " %spaused: nothing is handed out (`rota resume`)%s\n",
                 rota_style (screen, ROTA_STYLE_YELLOW), rota_style_end (screen));
    for (size_t i = 0; i < self->wait_count && rows > 8; i++) {
        fprintf (stream, " %s%s ", rota_style (screen, ROTA_STYLE_DIM), screen->unicode ? "\u00b7" : "-");
        rota_text_put (stream, screen, self->waits[i], columns > 4 ? columns - 4 : 0, false);
        fprintf (stream, "%s\n", rota_style_end (screen));
    }
    fclose (stream);
    return text;
}

static unsigned count_lines (const char *text)
{
    unsigned lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

void rota_progress_draw (rota_progress_t *self, bool tick)
{
    FILE *stream = self->cli->out.stream;
    char *whole = NULL;
    size_t size = 0;

    if (!self->cli->out.live || self->cli->json) {
        fflush (stream);
        return;
    }
    self->turns += tick;
    char *frame = self->has_status ? compose (self) : NULL;
    bool same = frame && self->frame && strcmp (frame, self->frame) == 0;
    if (!self->above_stream && (same || !frame)) {
        free (frame);
        return;
    }
    /* One write, so that no half-drawn frame is ever seen. */
    FILE *out = open_memstream (&whole, &size);
    if (out) {
        erase_frame (self, out);
        flush_above (self, out);
        if (hidden_fd < 0 && frame)
            fputs (HIDE_CURSOR, out);
        fputs (frame ? frame : "", out);
        fclose (out);
        hidden_fd = frame ? fileno (stream) : hidden_fd;
        fwrite (whole, 1, size, stream);
        fflush (stream);
        free (whole);
        self->frame_lines = frame ? count_lines (frame) : 0;
    }
    free (self->frame);
    self->frame = frame;
}
