/* yaml.h - YAML from people, safely: bytes to a tree of nodes that know where they stand.
 *
 * Before libyaml sees anything, the bytes are checked here for size, UTF-8 and control characters, because
 * its own messages for those carry no position. While the tree is built, nesting, the expansion of aliases
 * ("billion laughs"), duplicate keys and tags are checked. One document a file. Scalars stay texts: what a
 * value means is decided by the accessor that reads it, so an id may be written 1.0 or yes.
 *
 * Anchors, aliases and merge keys (`<<`) are resolved: an alias is a node with the position of the alias and
 * the content, shared, of the anchor. Nothing in a tree points up, and it has at most ROTA_YAML_MAX_DEPTH
 * levels, so recursion over it is safe. Comments are lost.
 *
 * Owner: one thread at a time. Positions count from 1, columns in characters.
 */
#ifndef ROTA_YAML_H
#define ROTA_YAML_H

#include "bus/error.h"
#include "bus/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROTA_YAML_MAX_BYTES (64u << 20)
#define ROTA_YAML_MAX_DEPTH 64         /* lists and mappings inside one another */
#define ROTA_YAML_MAX_ALIASED 1000000u /* nodes that aliases add, all together */

typedef enum { ROTA_YAML_SCALAR, ROTA_YAML_LIST, ROTA_YAML_MAPPING } rota_yaml_kind_t;

typedef struct rota_yaml_node {
    uint8_t kind;
    bool plain;     /* scalar without quotes: only such can be null, true, a number */
    uint32_t count; /* bytes of a scalar, items of a list, pairs of a mapping */
    uint32_t line, column;
    union {
        const char *text; /* terminated; valid UTF-8 without NUL */
        const struct rota_yaml_node *items;
        const struct rota_yaml_pair *pairs; /* in the order of the file; no key twice */
    };
} rota_yaml_node_t;

typedef struct rota_yaml_pair {
    rota_yaml_node_t key; /* a scalar */
    rota_yaml_node_t value;
} rota_yaml_pair_t;

/* Where faults go: what is wrong at which position. `text` is borrowed, and free of control characters. */
typedef struct {
    void (*report) (void *owner, uint32_t line, uint32_t column, const char *text);
    void *owner;
} rota_yaml_sink_t;

/* Parses one document. Nodes live in `nodes`, texts in `texts` (which may be the same pool). 0 and *ret_root,
 * which is a null scalar for an empty file; *ret_root is also set when only duplicate keys, odd tags or the
 * like were reported, each of them to `sink`. -EINVAL when it is no YAML or too much of it (reported);
 * -ENOMEM. */
int rota_yaml_parse (const char *bytes, size_t size_bytes, rota_pool_t *nodes, rota_pool_t *texts,
                     const rota_yaml_sink_t *sink, const rota_yaml_node_t **ret_root);

/* Reads a whole regular file (a pipe too) of at most ROTA_YAML_MAX_BYTES into malloc'ed memory. 0; -ENOENT,
 * -EISDIR, -EFBIG, -EACCES, -EIO, -ENOMEM or what open(2) says, with the text in `error`. */
int rota_yaml_read_file (const char *path, char **ret_bytes, size_t *ret_size_bytes, rota_error_t *error);

/* ---- looking at nodes; a NULL node is absent */

const rota_yaml_node_t *rota_yaml_get (const rota_yaml_node_t *mapping, const char *key);
bool rota_yaml_is_null (const rota_yaml_node_t *node); /* absent, ~, null or nothing */
bool rota_yaml_equals (const rota_yaml_node_t *node, const char *text);
const char *rota_yaml_kind_name (const rota_yaml_node_t *node); /* "a list", for messages */

__attribute__ ((format (printf, 3, 4))) void
rota_yaml_fault (const rota_yaml_sink_t *sink, const rota_yaml_node_t *at, const char *format, ...);

/* `text` made fit for a message: control characters replaced, long ones cut. Returns ret_text. */
#define ROTA_YAML_SHOWN_BYTES 96
const char *rota_yaml_show (const char *text, size_t length, char ret_text[ROTA_YAML_SHOWN_BYTES]);

/* ---- typed values. Each returns false after it has reported a fault ("attempts: expected ..., found a
 * list"), with *ret_value untouched. `what` is how the message names the value, mostly its key. */

bool rota_yaml_text (const rota_yaml_node_t *node, const char *what, const rota_yaml_sink_t *sink,
                     const char **ret_value);
bool rota_yaml_integer (const rota_yaml_node_t *node, const char *what, int64_t min, int64_t max,
                        const rota_yaml_sink_t *sink, int64_t *ret_value);
bool rota_yaml_number (const rota_yaml_node_t *node, const char *what, double min, double max,
                       const rota_yaml_sink_t *sink, double *ret_value);
bool rota_yaml_boolean (const rota_yaml_node_t *node, const char *what, const rota_yaml_sink_t *sink,
                        bool *ret_value);
bool rota_yaml_duration (const rota_yaml_node_t *node, const char *what, int64_t min_ms, int64_t max_ms,
                         const rota_yaml_sink_t *sink, int64_t *ret_ms);
bool rota_yaml_mapping (const rota_yaml_node_t *node, const char *what, const rota_yaml_sink_t *sink);

#endif
