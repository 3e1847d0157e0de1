/* event_json.h - an event as one line of JSON.
 *
 *     {"time":"2026-11-23T12:50:52.123Z","seq":17,"event":"task.moved","task":"build","attempt":1,
 *      "agent":"exec@host","from":"in_progress","to":"done","phase":"work","result":"ok","reason":"...",
 *      "detail":{...}}
 *
 * What the event doesn't have is left out. Time and number come first, always: scan.c relies on it. Texts are
 * escaped here, invalid UTF-8 becomes U+FFFD. `detail` is taken over as it is when it is JSON (an object or a
 * list; raw line ends in it become blanks), else carried as a string.
 *
 * Owner thread: the text's.
 */
#ifndef ROTA_EVENT_JSON_H
#define ROTA_EVENT_JSON_H

#include "proto/rota.pb-c.h"

#include <stddef.h>

/* A growing text; start with {0}, end with rota_text_free. */
typedef struct {
    char *bytes;
    size_t size_bytes, capacity_bytes;
} rota_text_t;

/* Room for `more_bytes`. 0 or -ENOMEM. */
int rota_text_reserve (rota_text_t *self, size_t more_bytes);
int rota_text_add (rota_text_t *self, const void *bytes, size_t size_bytes);
void rota_text_free (rota_text_t *self);

/* Appends the line with its newline. 0 or -ENOMEM, with `line` as it was. */
int rota_event_json (const Rota__Event *event, rota_text_t *line);

/* Appends a JSON string with its quotes. 0 or -ENOMEM. */
int rota_json_string (rota_text_t *text, const void *bytes, size_t size_bytes);

#endif
