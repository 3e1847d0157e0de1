#include "telemetry/cursor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CURSOR_NAME "cursor"
#define CURSOR_NEW_NAME "cursor.tmp"
#define CURSOR_MAX_BYTES 512

void rota_hex_write (const uint8_t bytes[ROTA_INSTANCE_BYTES], char ret_text[ROTA_HEX_BYTES])
{
    for (size_t i = 0; i < ROTA_INSTANCE_BYTES; i++)
        snprintf (ret_text + 2 * i, 3, "%02x", bytes[i]);
}

static int hex_digit (char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool rota_hex_parse (const char *text, uint8_t ret_bytes[ROTA_INSTANCE_BYTES])
{
    uint8_t bytes[ROTA_INSTANCE_BYTES];
    for (size_t i = 0; i < ROTA_INSTANCE_BYTES; i++) {
        int high = hex_digit (text[2 * i]);
        int low = high < 0 ? -1 : hex_digit (text[2 * i + 1]);
        if (low < 0)
            return false;
        bytes[i] = (uint8_t)(high * 16 + low);
    }
    memcpy (ret_bytes, bytes, sizeof bytes);
    return true;
}

/* `root` is a JSON value or NULL. */
static int decode (const json_t *root, rota_cursor_t *ret_cursor)
{
    rota_cursor_t cursor = {0};
    const char *store = json_string_value (json_object_get (root, "store"));
    const json_t *seq = json_object_get (root, "seq");
    const json_t *offset = json_object_get (root, "offset");
    const char *file = json_string_value (json_object_get (root, "file"));
    rota_journal_file_t parsed;

    if (!store || strlen (store) != ROTA_HEX_BYTES - 1 || !rota_hex_parse (store, cursor.store))
        return -EBADMSG;
    if (!json_is_integer (seq) || json_integer_value (seq) < 0 || !json_is_integer (offset) ||
        json_integer_value (offset) < 0)
        return -EBADMSG;
    if (!file || (file[0] && (!rota_journal_name_parse (file, &parsed) || parsed.compressed)))
        return -EBADMSG;
    cursor.seq = (uint64_t)json_integer_value (seq);
    cursor.offset_bytes = json_integer_value (offset);
    memcpy (cursor.file, file, strlen (file) + 1);
    *ret_cursor = cursor;
    return 0;
}

int rota_cursor_load (int directory, rota_cursor_t *ret_cursor)
{
    int fd = openat (directory, CURSOR_NAME, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    char text[CURSOR_MAX_BYTES];
    ssize_t length = read (fd, text, sizeof text);
    int rc = length < 0 ? -errno : 0;
    close (fd);
    if (rc < 0)
        return rc;
    json_t *root = json_loadb (text, (size_t)length, 0, NULL);
    rc = decode (root, ret_cursor);
    json_decref (root);
    return rc;
}

static int write_new (const rota_file_ops_t *ops, int directory, const char *text, size_t length)
{
    int fd = ops->open (ops->owner, directory, CURSOR_NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0)
        return fd;
    ssize_t written = ops->write (ops->owner, fd, text, length);
    int rc = written < 0 ? (int)written : (size_t)written < length ? -ENOSPC : 0;
    if (rc == 0)
        rc = ops->sync (ops->owner, fd);
    close (fd);
    return rc;
}

int rota_cursor_save (const rota_file_ops_t *ops, int directory, const rota_cursor_t *cursor)
{
    char store[ROTA_HEX_BYTES], text[CURSOR_MAX_BYTES];
    rota_hex_write (cursor->store, store);
    int length = snprintf (text, sizeof text,
                           "{\"store\":\"%s\",\"seq\":%" PRIu64 ",\"file\":\"%s\",\"offset\":%" PRId64 "}\n",
                           store, cursor->seq, cursor->file, cursor->offset_bytes);
    int rc = write_new (ops, directory, text, (size_t)length);
    if (rc == 0)
        rc = ops->rename (ops->owner, directory, CURSOR_NEW_NAME, CURSOR_NAME);
    return rc < 0 ? rc : ops->sync (ops->owner, directory);
}
