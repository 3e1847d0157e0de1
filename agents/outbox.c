#include "agents/outbox.h"

#include "bus/names.h"
#include "proto/words.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const TYPES[] = {
    [NOTE (DECISION)] = "decision",
    [NOTE (CONSTRAINT)] = "constraint",
    [NOTE (LEARNING)] = "learning",
    [NOTE (QUESTION)] = "question",
};

static Rota__NoteType type_of (const json_t *object)
{
    const char *word = json_string_value (json_object_get (object, "type"));
    for (size_t i = 1; word && i < sizeof TYPES / sizeof *TYPES; i++)
        if (strcmp (word, TYPES[i]) == 0)
            return (Rota__NoteType)i;
    return NOTE (UNSPECIFIED);
}

/* Cut between characters; control characters become blanks, newlines too unless `lines`. */
static bool copy (const json_t *text, size_t most, bool lines, rota_arena_t *arena,
                  ProtobufCBinaryData *ret_bytes)
{
    const char *bytes = json_string_value (text);
    size_t length = json_string_length (text);
    if (!bytes || !length)
        return false;
    if (length > most) {
        length = most;
        while (length && ((unsigned char)bytes[length] & 0xC0) == 0x80)
            length--;
    }
    char *made = rota_arena_alloc (arena, length + 1);
    if (!made)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        bool control = c < 0x20 || c == 0x7F;
        made[i] = control && !(lines && c == '\n') ? ' ' : (char)c;
    }
    *ret_bytes = rota_bytes_n (made, length);
    return rota_text_is_valid (made, length, lines);
}

static void copy_tasks (const json_t *list, rota_arena_t *arena, Rota__Note *note)
{
    size_t count = json_array_size (list);
    const char *reason;
    if (count > ROTA_OUTBOX_TASKS_MAX)
        count = ROTA_OUTBOX_TASKS_MAX;
    note->tasks = count ? rota_arena_alloc (arena, count * sizeof *note->tasks) : NULL;
    for (size_t i = 0; note->tasks && i < count; i++) {
        const json_t *id = json_array_get (list, i);
        if (json_is_string (id) &&
            rota_id_check (json_string_value (id), json_string_length (id), &reason) == 0 &&
            copy (id, ROTA_ID_MAX_BYTES, false, arena, &note->tasks[note->n_tasks]))
            note->n_tasks++;
    }
}

static Rota__Note *note_of (const json_t *object, rota_arena_t *arena)
{
    Rota__NoteType type = json_is_object (object) ? type_of (object) : NOTE (UNSPECIFIED);
    Rota__Note *note = type ? rota_arena_alloc (arena, sizeof *note) : NULL;
    const json_t *confidence = json_object_get (object, "confidence");
    if (!note)
        return NULL;
    rota__note__init (note);
    note->has_type = true;
    note->type = type;
    note->has_text =
        copy (json_object_get (object, "text"), ROTA_OUTBOX_TEXT_BYTES, true, arena, &note->text);
    note->has_topic =
        copy (json_object_get (object, "topic"), ROTA_OUTBOX_TOPIC_BYTES, false, arena, &note->topic);
    if (!note->has_topic)
        note->topic = (ProtobufCBinaryData){0};
    double value = json_number_value (confidence);
    note->has_confidence = json_is_number (confidence) && value >= 0 && value <= 1;
    note->confidence = note->has_confidence ? value : 0;
    copy_tasks (json_object_get (object, "tasks"), arena, note);
    return note->has_text ? note : NULL;
}

static bool is_blank (const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

void rota_outbox_read (const char *bytes, size_t size_bytes, rota_arena_t *arena, rota_outbox_t *ret_outbox)
{
    size_t kept = 0;
    *ret_outbox = (rota_outbox_t){0};
    ret_outbox->notes = rota_arena_alloc (arena, ROTA_OUTBOX_NOTES_MAX * sizeof (Rota__Note *));
    for (const char *end = bytes + size_bytes; ret_outbox->notes && bytes < end;) {
        const char *stop = memchr (bytes, '\n', (size_t)(end - bytes));
        size_t length = (size_t)((stop ? stop : end) - bytes);
        if (!is_blank (bytes, length)) {
            json_t *object = ret_outbox->count < ROTA_OUTBOX_NOTES_MAX
                                 ? json_loadb (bytes, length, JSON_REJECT_DUPLICATES, NULL)
                                 : NULL;
            Rota__Note *note = object ? note_of (object, arena) : NULL;
            json_decref (object);
            size_t size = note ? note->text.len + note->topic.len + note->n_tasks * ROTA_ID_MAX_BYTES : 0;
            if (note && kept + size <= ROTA_OUTBOX_KEPT_BYTES) {
                kept += size;
                ret_outbox->notes[ret_outbox->count++] = note;
            } else
                ret_outbox->bad++;
        }
        bytes += length + (stop != NULL);
    }
}

void rota_outbox_load (const char *log_path, rota_arena_t *arena, rota_outbox_t *ret_outbox)
{
    char path[PATH_MAX];
    struct stat info;
    *ret_outbox = (rota_outbox_t){0};
    if (snprintf (path, sizeof path, "%s.outbox", log_path) >= (int)sizeof path)
        return;
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return;
    char *bytes = fstat (fd, &info) == 0 && S_ISREG (info.st_mode) && info.st_size > 0
                      ? malloc (ROTA_OUTBOX_MAX_BYTES)
                      : NULL;
    size_t size = 0;
    ssize_t part;
    while (
        bytes && size < ROTA_OUTBOX_MAX_BYTES &&
        ((part = read (fd, bytes + size, ROTA_OUTBOX_MAX_BYTES - size)) > 0 || (part < 0 && errno == EINTR)))
        size += part > 0 ? (size_t)part : 0;
    close (fd);
    if (size)
        rota_outbox_read (bytes, size, arena, ret_outbox);
    free (bytes);
}

const Rota__Note *rota_outbox_question (const rota_outbox_t *outbox)
{
    for (size_t i = outbox->count; i-- > 0;)
        if (outbox->notes[i]->type == NOTE (QUESTION))
            return outbox->notes[i];
    return NULL;
}
