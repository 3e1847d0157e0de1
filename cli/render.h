/* render.h - text for people: what a terminal may show, and how it looks there.
 *
 * All text from the store, from files and from agents is untrusted here: it goes through rota_clean before it
 * is written to a terminal, so that no id, title or output line can move the cursor, set a title or pretend
 * to be a message of rota.
 *
 * Owner thread: any, nothing shared but the locale (rota_screen_init reads it).
 */
#ifndef ROTA_RENDER_H
#define ROTA_RENDER_H

#include "proto/envelope.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct {
    FILE *stream;
    bool terminal;
    bool colour;  /* a terminal that is not dumb, and no NO_COLOR */
    bool unicode; /* the locale's character set is UTF-8 */
    bool live;    /* a terminal on which the cursor can be moved */
} rota_screen_t;

typedef enum {
    ROTA_STYLE_PLAIN,
    ROTA_STYLE_BOLD,
    ROTA_STYLE_DIM,
    ROTA_STYLE_RED,
    ROTA_STYLE_GREEN,
    ROTA_STYLE_YELLOW,
    ROTA_STYLE_BLUE,
    ROTA_STYLE_CYAN,
    ROTA_STYLE_BOLD_RED,
} rota_style_t;

/* `stream` is borrowed. Call setlocale before. */
void rota_screen_init (rota_screen_t *self, FILE *stream);
/* Columns and rows now; 0 when it is no terminal. */
unsigned rota_screen_columns (const rota_screen_t *self);
unsigned rota_screen_rows (const rota_screen_t *self);

/* The escape sequence of a style or its end, "" without colours. */
const char *rota_style (const rota_screen_t *screen, rota_style_t style);
const char *rota_style_end (const rota_screen_t *screen);
rota_style_t rota_status_style (Rota__TaskStatus status);

/* ---- text from outside */

/* `length` bytes as text that is safe to print, in a malloc'ed string: control characters, escape sequences,
 * direction overrides and what is not UTF-8 become "?" each; blanks and, with `lines`, newlines and tabs
 * stay. NULL on no memory. */
char *rota_clean (const void *bytes, size_t length, bool lines);
char *rota_clean_bytes (bool present, ProtobufCBinaryData bytes);

/* Columns that clean text takes on a terminal. */
unsigned rota_text_columns (const char *text);
/* Bytes of clean text that fit into `columns`. */
size_t rota_text_fit (const char *text, unsigned columns);
/* Writes clean text cut to `columns` with an ellipsis, and filled with blanks when `fill`. Returns the
 * columns written. */
unsigned rota_text_put (FILE *stream, const rota_screen_t *screen, const char *text, unsigned columns,
                        bool fill);

/* ---- tables: columns as wide as their content, the flexible one cut to the terminal's width */

typedef struct {
    const char *title;
    bool right;    /* aligned */
    bool flexible; /* is cut when the line is too long for the terminal */
} rota_column_t;

typedef struct rota_table rota_table_t;

/* `columns` is borrowed. NULL on no memory. */
rota_table_t *rota_table_new (const rota_column_t *columns, size_t count);
void rota_table_destroy (rota_table_t **self_p);
/* The next cell of the row that is being filled; a full row begins the next one. `text` is cleaned and
 * copied; the style is for this cell. What memory doesn't hold is left empty. */
void rota_table_add (rota_table_t *self, rota_style_t style, const void *bytes, size_t length);
__attribute__ ((format (printf, 3, 4))) void rota_table_addf (rota_table_t *self, rota_style_t style,
                                                              const char *format, ...);
/* Prints the rows since the last call, the titles before the first ones. Widths only grow from one call to
 * the next, so that pages of a long list stay aligned. */
void rota_table_flush (rota_table_t *self, const rota_screen_t *screen);

/* ---- figures */

/* A bar of `columns` cells: `parts` in their styles, each its share of `total`. */
typedef struct {
    uint64_t amount;
    rota_style_t style;
} rota_bar_part_t;
void rota_bar_put (FILE *stream, const rota_screen_t *screen, const rota_bar_part_t *parts, size_t count,
                   uint64_t total, unsigned columns);

/* "1 task", "12 tasks": the word gets an s. 48 bytes are enough. */
const char *rota_plural (uint64_t amount, const char *word, char ret_text[48]);

/* "3 wait for a free slot", "1 waits ..., the next at 14:03:07": what a status says about waiting tasks,
 * clean and malloc'ed; NULL on no memory. */
char *rota_wait_sentence (const Rota__WaitReason *reason, int64_t now_ms);

/* "3.1 KiB" */
const char *rota_size (uint64_t size_bytes, char ret_text[24]);

/* Wall time of today as "14:03:07", other days as "11-23 14:03"; "-" for 0. */
const char *rota_when (int64_t wall_ms, int64_t now_ms, char ret_text[24]);

#endif
