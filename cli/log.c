/* The verb log: the output of an attempt, from the host that has it, or from its file where that is here. */
#include "cli/log.h"

#include "agents/output.h"
#include "bus/clock.h"
#include "bus/names.h"
#include "cli/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES (256u << 10)
#define FOLLOW_MS 150
#define TAIL_BYTES (1u << 20) /* as much is looked through for the last lines */

typedef struct {
    rota_cli_t *cli;
    rota_link_t link;
    const char *id;
    uint32_t attempt; /* 0 = not known yet */
    bool has_host;
    uint8_t host[16];
    bool local; /* the host is gone, its file is read here */
    uint64_t offset;
    char *partial; /* the beginning of a line, for a terminal */
    size_t partial_size;
} log_t;

/* One block from the host or the file. */
typedef struct {
    const uint8_t *bytes;
    size_t size;
    uint64_t offset; /* of bytes[0] */
    uint64_t whole;
    bool ended;
    uint8_t *owned;
} block_t;

static void fill_query (const log_t *self, Rota__OutputQuery *query, uint32_t limit)
{
    rota__output_query__init (query);
    query->has_task = query->has_offset = query->has_limit = true;
    query->task = rota_bytes (self->id);
    query->offset = self->offset;
    query->limit = limit;
    query->has_attempt = self->attempt > 0;
    query->attempt = self->attempt;
}

/* The scheduler knows which attempt is the newest and where it ran. */
static int find_host (log_t *self)
{
    Rota__OutputQuery query;
    Rota__OutputReply *reply = NULL;

    fill_query (self, &query, 1);
    int code = rota_link_call (&self->link, ROTA_MESSAGE_OUTPUT_QUERY, &query.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_OUTPUT_REPLY, &reply);
    if (code != ROTA_EXIT_DONE)
        return code;
    if (reply->has_attempt)
        self->attempt = reply->attempt;
    if (self->attempt == 0)
        return rota_cli_fail (ROTA_EXIT_REFUSED, "task %s has not been started yet; `rota why %s` tells why",
                              self->id, self->id);
    self->has_host = reply->has_agent_instance && reply->agent_instance.len == sizeof self->host;
    if (self->has_host)
        memcpy (self->host, reply->agent_instance.data, sizeof self->host);
    self->local = !self->has_host;
    return ROTA_EXIT_DONE;
}

static int read_local (log_t *self, block_t *ret_block, uint32_t limit, rota_error_t *error)
{
    char name[ROTA_ENCODED_MAX_BYTES], *path = NULL;
    rota_output_piece_t piece = {0};

    rota_id_encode (self->id, strlen (self->id), name);
    if (!self->link.state || asprintf (&path, "%s/logs/%s/%u", self->link.state, name, self->attempt) < 0)
        return rota_error_set (error, -ENOENT, "the host that ran it is gone");
    uint8_t *bytes = malloc (limit);
    int status = bytes ? rota_output_read (path, self->offset, bytes, limit, &piece) : -ENOMEM;
    free (path);
    if (status < 0) {
        free (bytes);
        return rota_error_set (error, status, "%s", strerror (-status));
    }
    *ret_block = (block_t){.bytes = bytes,
                           .size = piece.size_bytes,
                           .offset = piece.offset,
                           .whole = piece.total_bytes,
                           .ended = true,
                           .owned = bytes};
    return 0;
}

static int read_block (log_t *self, block_t *ret_block, uint32_t limit)
{
    Rota__OutputQuery query;
    ProtobufCMessage *reply = NULL;
    rota_error_t error = {""};
    int status = -EHOSTUNREACH;

    if (self->has_host && !self->local) {
        fill_query (self, &query, limit);
        status = rota_client_call_to (self->link.client, self->host, ROTA_MESSAGE_OUTPUT_QUERY, &query.base,
                                      ROTA_CALL_MS, ROTA_MESSAGE_OUTPUT_REPLY, &reply, &error);
        if (status == 0) {
            const Rota__OutputReply *answer = (const Rota__OutputReply *)reply;
            *ret_block = (block_t){.bytes = answer->data.data,
                                   .size = answer->has_data ? answer->data.len : 0,
                                   .offset = answer->offset,
                                   .whole = answer->size,
                                   .ended = answer->ended};
            return ROTA_EXIT_DONE;
        }
    }
    if (status == -EINTR)
        return ROTA_EXIT_INTERRUPTED;
    rota_error_t local_error = {""};
    int local = read_local (self, ret_block, limit, &local_error);
    if (local == 0) {
        self->local = true;
        return ROTA_EXIT_DONE;
    }
    if (self->has_host && status != -EHOSTUNREACH)
        return rota_link_refusal (&self->link, status, &error);
    return rota_cli_fail (ROTA_EXIT_UNREACHABLE, "the output of %s, attempt %u, is not here: %s", self->id,
                          self->attempt, *local_error.text ? local_error.text : strerror (-local));
}

/* A terminal gets whole lines, made harmless; `last` also gives out what has no end yet. */
static void put_terminal (log_t *self, const uint8_t *bytes, size_t size, bool last)
{
    char *all = malloc (self->partial_size + size + 1);
    if (!all)
        return;
    if (self->partial_size > 0)
        memcpy (all, self->partial, self->partial_size);
    if (size > 0)
        memcpy (all + self->partial_size, bytes, size);
    size += self->partial_size;
    free (self->partial);
    self->partial = NULL;
    self->partial_size = 0;

    char *end = memrchr (all, '\n', size);
    size_t whole = last ? size : end ? (size_t)(end - all) + 1 : 0;
    char *clean = rota_clean (all, whole, true);
    if (clean)
        fputs (clean, stdout);
    free (clean);
    if (whole < size) {
        self->partial_size = size - whole;
        self->partial = malloc (self->partial_size);
        if (self->partial)
            memcpy (self->partial, all + whole, self->partial_size);
        else
            self->partial_size = 0;
    }
    free (all);
    fflush (stdout);
}

static void put_gap (log_t *self, uint64_t dropped)
{
    char text[24];
    rota_size (dropped, text);
    if (self->cli->json) {
        json_t *object = json_object ();
        rota_json_set_number (object, "dropped_bytes", dropped);
        rota_json_line (stdout, object);
    } else if (self->cli->out.terminal) {
        put_terminal (self, NULL, 0, true);
        printf ("\n%s[... %s were dropped here ...]%s\n", rota_style (&self->cli->out, ROTA_STYLE_YELLOW),
                text, rota_style_end (&self->cli->out));
    } else {
        printf ("\n[... %s were dropped here ...]\n", text);
    }
}

static void put_block (log_t *self, const block_t *block)
{
    if (block->offset > self->offset && block->size > 0)
        put_gap (self, block->offset - self->offset);
    if (self->cli->json && block->size > 0) {
        json_t *object = json_object ();
        rota_json_set_string (object, "id", self->id);
        rota_json_set_number (object, "attempt", self->attempt);
        rota_json_set_number (object, "offset", block->offset);
        rota_json_set_text (object, "data", true, rota_bytes_n (block->bytes, block->size));
        rota_json_line (stdout, object);
    } else if (self->cli->out.terminal) {
        put_terminal (self, block->bytes, block->size, false);
    } else if (block->size > 0) {
        fwrite (block->bytes, 1, block->size, stdout);
        fflush (stdout);
    }
}

/* Moves the offset to where the last `lines` of what is there begin. */
static int seek_tail (log_t *self, int64_t lines)
{
    block_t block = {0};
    uint8_t *tail = NULL;
    size_t size = 0;
    int code = read_block (self, &block, 1);

    uint64_t whole = block.whole;
    free (block.owned);
    if (code != ROTA_EXIT_DONE || whole == 0)
        return code;
    uint64_t from = whole > TAIL_BYTES ? whole - TAIL_BYTES : 0;
    tail = malloc (TAIL_BYTES);
    self->offset = from;
    while (tail && code == ROTA_EXIT_DONE && size < TAIL_BYTES && self->offset < whole) {
        code = read_block (self, &block, BLOCK_BYTES);
        if (code != ROTA_EXIT_DONE || block.size == 0)
            break;
        if (block.offset > self->offset) { /* the gap ends in here: the tail begins behind it */
            from = block.offset;
            size = 0;
        }
        size_t part = block.size < TAIL_BYTES - size ? block.size : TAIL_BYTES - size;
        memcpy (tail + size, block.bytes, part);
        size += part;
        self->offset = block.offset + block.size;
        free (block.owned);
        block.owned = NULL;
    }
    size_t start = size > 0 && tail && tail[size - 1] == '\n' ? size - 1 : size;
    while (tail && start > 0 && (tail[start - 1] != '\n' || --lines > 0))
        start--;
    self->offset = from + start;
    free (tail);
    return code;
}

static int copy (log_t *self, bool follow)
{
    for (;;) {
        block_t block = {0};
        int code = read_block (self, &block, BLOCK_BYTES);
        if (code != ROTA_EXIT_DONE)
            return code;
        put_block (self, &block);
        bool more = block.size > 0;
        if (more)
            self->offset = block.offset + block.size;
        bool ended = block.ended || self->local;
        free (block.owned);
        if (more)
            continue;
        if (ended || !follow)
            return ROTA_EXIT_DONE;
        if (self->cli->out.terminal && !self->cli->json)
            put_terminal (self, NULL, 0, true);
        if (rota_client_run (self->link.client, FOLLOW_MS) < 0)
            return ROTA_EXIT_INTERRUPTED;
    }
}

int rota_log_tail (const rota_link_t *link, const char *id, uint32_t attempt, int64_t lines,
                   size_t most_bytes, rota_log_tail_t *ret_tail)
{
    log_t self = {.cli = NULL, .link = *link, .id = id, .attempt = attempt};
    block_t block = {0};
    int code = find_host (&self);
    if (code == ROTA_EXIT_DONE)
        code = seek_tail (&self, lines);
    /* What comes meanwhile is left for the next time. */
    if (code == ROTA_EXIT_DONE)
        code = read_block (&self, &block, BLOCK_BYTES);
    if (code != ROTA_EXIT_DONE)
        return code;
    size_t size = block.size < most_bytes ? block.size : most_bytes;
    rota_log_tail_t tail = {.bytes = malloc (size + 1), .size = size, .attempt = self.attempt};
    tail.ended = block.ended;
    if (tail.bytes && size)
        memcpy (tail.bytes, block.bytes + block.size - size, size);
    free (block.owned);
    if (!tail.bytes)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    *ret_tail = tail;
    return ROTA_EXIT_DONE;
}

int rota_verb_log (rota_cli_t *cli)
{
    log_t self = {.cli = cli, .id = rota_options_argument (cli->options, 0)};
    int64_t attempt = rota_options_number (cli->options, "attempt", 0);
    int64_t tail = rota_options_number (cli->options, "tail", 0);

    if (attempt < 0 || attempt > UINT32_MAX || (rota_options_count (cli->options, "attempt") && attempt == 0))
        return rota_cli_fail (ROTA_EXIT_USAGE, "--attempt counts from 1");
    if (tail < 0 || (rota_options_count (cli->options, "tail") && tail == 0))
        return rota_cli_fail (ROTA_EXIT_USAGE, "--tail wants a number of lines");
    self.attempt = (uint32_t)attempt;
    int code = rota_link_open_any (cli, &self.link);
    if (code != ROTA_EXIT_DONE)
        return code;
    code = find_host (&self);
    if (code == ROTA_EXIT_DONE && tail > 0)
        code = seek_tail (&self, tail);
    if (code == ROTA_EXIT_DONE)
        code = copy (&self, rota_options_flag (cli->options, "follow"));
    if (cli->out.terminal && !cli->json)
        put_terminal (&self, NULL, 0, true);
    free (self.partial);
    rota_link_close (&self.link);
    return code;
}
