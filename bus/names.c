#include "bus/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define ENCODED_WHOLE_BYTES 80 /* a longer name is cut */
#define ENCODED_CUT_BYTES 63   /* and has '~' and 16 digits after this */

size_t rota_utf8_sequence (const char *bytes, size_t length)
{
    const unsigned char *text = (const unsigned char *)bytes;
    unsigned char lead = text[0];
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */
    size_t size;

    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        size = 2;
    else if (lead >= 0xe0 && lead <= 0xef)
        size = 3;
    else if (lead >= 0xf0 && lead <= 0xf4)
        size = 4;
    else
        return 0;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    if (size > length || text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if (text[i] < 0x80 || text[i] > 0xbf)
            return 0;
    return size;
}

/* Control characters of ASCII and, at `size` 2, of Latin-1 (U+0080 to U+009F). */
static bool is_control (const unsigned char *text, size_t size)
{
    return size == 1 ? text[0] < 0x20 || text[0] == 0x7f : size == 2 && text[0] == 0xc2 && text[1] < 0xa0;
}

int rota_id_check (const char *id, size_t length, const char **ret_reason)
{
    const char *reason = NULL;
    const unsigned char *bytes = (const unsigned char *)id;

    if (length == 0)
        reason = "an id must not be empty";
    else if (length > ROTA_ID_MAX_BYTES)
        reason = "an id has at most 200 bytes";
    else if (id[0] == ' ' || id[length - 1] == ' ')
        reason = "an id must not begin or end with a blank";
    for (size_t i = 0; !reason && i < length;) {
        size_t size = rota_utf8_sequence (id + i, length - i);
        if (size == 0)
            reason = "an id must be valid UTF-8";
        else if (bytes[i] == '\0')
            reason = "an id must not hold a NUL byte";
        else if (is_control (bytes + i, size))
            reason = "an id must not hold control characters";
        i += size;
    }
    if (!reason)
        return 0;
    if (ret_reason)
        *ret_reason = reason;
    return -EINVAL;
}

bool rota_text_is_valid (const char *text, size_t length, bool lines)
{
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t i = 0; i < length;) {
        size_t size = rota_utf8_sequence (text + i, length - i);
        if (size == 0 || bytes[i] == '\0' || (!lines && is_control (bytes + i, size)))
            return false;
        i += size;
    }
    return true;
}

static bool is_plain (unsigned char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
           byte == '_' || byte == '-';
}

void rota_id_encode (const char *id, size_t length, char ret_name[ROTA_ENCODED_MAX_BYTES])
{
    static const char DIGITS[] = "0123456789ABCDEF";
    char name[ENCODED_WHOLE_BYTES + 3];
    size_t used = 0, cut = 0;
    bool whole = true;

    for (size_t i = 0; i < length && whole; i++) {
        unsigned char byte = (unsigned char)id[i];
        if (is_plain (byte)) {
            name[used++] = (char)byte;
        } else {
            name[used++] = '%';
            name[used++] = DIGITS[byte >> 4];
            name[used++] = DIGITS[byte & 15];
        }
        if (used <= ENCODED_CUT_BYTES)
            cut = used;
        whole = used <= ENCODED_WHOLE_BYTES;
    }
    if (whole) {
        memcpy (ret_name, name, used);
        ret_name[used] = '\0';
        return;
    }
    /* '~' is in no uncut name, so a cut one meets none of those. */
    memcpy (ret_name, name, cut);
    snprintf (ret_name + cut, ROTA_ENCODED_MAX_BYTES - cut, "~%016llx",
              (unsigned long long)rota_hash (id, length));
}

void rota_branch_name (const char *id, size_t length, uint32_t attempt, char ret_name[ROTA_BRANCH_MAX_BYTES])
{
    char name[ROTA_ENCODED_MAX_BYTES];
    rota_id_encode (id, length, name);
    char *mark = strchr (name, '~');
    if (mark)
        *mark = '+';
    snprintf (ret_name, ROTA_BRANCH_MAX_BYTES, "rota-work/%s.%u", name, attempt);
}

void rota_instance_new (uint8_t ret_instance[ROTA_INSTANCE_BYTES])
{
    size_t got = 0;
    while (got < ROTA_INSTANCE_BYTES) {
        ssize_t count = getrandom (ret_instance + got, ROTA_INSTANCE_BYTES - got, 0);
        if (count < 0 && errno != EINTR)
            abort ();
        if (count > 0)
            got += (size_t)count;
    }
}

uint64_t rota_hash (const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}
