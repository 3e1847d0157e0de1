/* Bytes to a tree. What a node means is yaml_values.c. */
#include "bus/yaml.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* Memory: a node may come from two bytes of a file, and costs 24, twice while its list is open. */
#define MAX_NODES (16u << 20)
#define MAX_ANCHORS 100000u
/* libyaml compares each %TAG with all before it. */
#define MAX_TAG_LINES 16
/* Mappings of up to so many pairs are searched for duplicates pair by pair, larger ones with a table. */
#define SMALL_MAPPING 12

/* ---- the bytes, before libyaml sees them */

/* Length of the character at `bytes`, 0 when it is none; *ret_code is its number. */
static size_t decode (const unsigned char *bytes, size_t size, uint32_t *ret_code)
{
    static const uint32_t FIRST[] = {0, 0, 0x80, 0x800, 0x10000}; /* lower ones have shorter forms */
    unsigned char lead = bytes[0];
    size_t length = lead < 0x80   ? 1
                    : lead < 0xC2 ? 0
                    : lead < 0xE0 ? 2
                    : lead < 0xF0 ? 3
                    : lead < 0xF5 ? 4
                                  : 0;
    if (length == 0 || length > size)
        return 0;
    uint32_t code = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (bytes[i] & 0x3Fu);
    }
    if (length > 1 && (code < FIRST[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)))
        return 0;
    *ret_code = code;
    return length;
}

static bool is_allowed (uint32_t code)
{
    if (code < 0x20)
        return code == '\t' || code == '\n' || code == '\r';
    return code != 0x7F && (code < 0x80 || code > 0x9F || code == 0x85) && code != 0xFEFF && code != 0xFFFE &&
           code != 0xFFFF;
}

typedef struct {
    const rota_yaml_sink_t *sink;
    uint32_t line, column;
    int tag_lines;
} byte_check_t;

__attribute__ ((format (printf, 2, 3))) static int refuse (const byte_check_t *check, const char *format, ...)
{
    char text[160];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    check->sink->report (check->sink->owner, check->line, check->column, text);
    return -EINVAL;
}

/* Lines end as libyaml counts them, or its positions and these would differ. */
static bool ends_line (uint32_t code, const unsigned char *bytes, size_t size)
{
    if (code == '\r')
        return size < 2 || bytes[1] != '\n';
    return code == '\n' || code == 0x85 || code == 0x2028 || code == 0x2029;
}

static int check_bytes (const unsigned char *bytes, size_t size, const rota_yaml_sink_t *sink)
{
    byte_check_t check = {sink, 1, 1, 0};
    if (size > ROTA_YAML_MAX_BYTES)
        return refuse (&check, "the file is larger than %u MiB", ROTA_YAML_MAX_BYTES >> 20);
    if (size >= 2 && ((bytes[0] == 0xFF && bytes[1] == 0xFE) || (bytes[0] == 0xFE && bytes[1] == 0xFF)))
        return refuse (&check, "the file is UTF-16; save it as UTF-8");
    for (size_t i = 0; i < size;) {
        uint32_t code;
        size_t length = decode (bytes + i, size - i, &code);
        if (length == 0)
            return refuse (&check, "invalid UTF-8: byte 0x%02X", bytes[i]);
        if (code == 0)
            return refuse (&check, "a NUL byte; this is no text file");
        if (!is_allowed (code))
            return refuse (&check, "the control character U+%04X is not allowed", code);
        if (code == '%' && check.column == 1 && size - i > 4 && !memcmp (bytes + i, "%TAG", 4) &&
            ++check.tag_lines > MAX_TAG_LINES)
            return refuse (&check, "more than %d %%TAG lines", MAX_TAG_LINES);
        if (ends_line (code, bytes + i, size - i)) {
            check.line++;
            check.column = 1;
        } else if (code != '\r') {
            check.column++;
        }
        i += length;
    }
    return 0;
}

/* ---- the tree */

typedef struct {
    const char *name;
    rota_yaml_node_t node;
    uint32_t nodes; /* that an alias of it adds */
    uint32_t height;
    bool complete;
} anchor_t;

typedef struct {
    rota_yaml_node_t head;
    size_t first; /* its children on the stack */
    uint32_t nodes, height;
    anchor_t *anchor; /* or NULL */
} frame_t;

typedef struct {
    const rota_yaml_sink_t *sink;
    rota_pool_t *nodes, *texts;
    rota_yaml_node_t *stack; /* complete nodes whose list or mapping is still open */
    size_t stack_count, stack_capacity;
    frame_t frames[ROTA_YAML_MAX_DEPTH];
    size_t depth;
    anchor_t **anchors; /* open addressing, capacity a power of two */
    size_t anchor_count, anchor_capacity;
    uint32_t *slots; /* of one mapping while it is closed: pair index plus one */
    size_t slot_capacity, slot_mask;
    uint32_t node_count, aliased_count;
} builder_t;

static uint64_t hash (const char *text)
{
    uint64_t value = 0xcbf29ce484222325u;
    for (; *text; text++)
        value = (value ^ (unsigned char)*text) * 0x100000001b3u;
    return value ^ value >> 32;
}

static rota_yaml_node_t node_at (rota_yaml_kind_t kind, const yaml_mark_t *mark)
{
    return (rota_yaml_node_t){
        .kind = (uint8_t)kind, .line = (uint32_t)mark->line + 1, .column = (uint32_t)mark->column + 1};
}

static int grow_anchors (builder_t *self)
{
    size_t capacity = self->anchor_capacity ? self->anchor_capacity * 2 : 64;
    anchor_t **anchors = calloc (capacity, sizeof (anchor_t *));
    if (!anchors)
        return -ENOMEM;
    for (size_t i = 0; i < self->anchor_capacity; i++) {
        if (!self->anchors[i])
            continue;
        size_t slot = hash (self->anchors[i]->name) & (capacity - 1);
        while (anchors[slot])
            slot = (slot + 1) & (capacity - 1);
        anchors[slot] = self->anchors[i];
    }
    free (self->anchors);
    self->anchors = anchors;
    self->anchor_capacity = capacity;
    return 0;
}

/* The slot of `name` or the free one where it belongs. There is always one free. */
static anchor_t **find_anchor (const builder_t *self, const char *name)
{
    size_t slot = hash (name) & (self->anchor_capacity - 1);
    while (self->anchors[slot] && strcmp (self->anchors[slot]->name, name) != 0)
        slot = (slot + 1) & (self->anchor_capacity - 1);
    return &self->anchors[slot];
}

/* Makes or, as YAML allows, takes over the anchor `name`. */
static int open_anchor (builder_t *self, const yaml_char_t *yaml_name, const rota_yaml_node_t *at,
                        anchor_t **ret_anchor)
{
    *ret_anchor = NULL;
    const char *name = (const char *)yaml_name;
    if (!name)
        return 0;
    if (self->anchor_count * 2 >= self->anchor_capacity && grow_anchors (self) < 0)
        return -ENOMEM;
    anchor_t **slot = find_anchor (self, name);
    if (!*slot) {
        if (self->anchor_count >= MAX_ANCHORS) {
            rota_yaml_fault (self->sink, at, "more than %u anchors", MAX_ANCHORS);
            return -EINVAL;
        }
        *slot = rota_pool_alloc (self->nodes, sizeof **slot);
        if (!*slot || !((*slot)->name = rota_pool_text (self->nodes, name, strlen (name))))
            return -ENOMEM;
        self->anchor_count++;
    }
    (*slot)->complete = false;
    *ret_anchor = *slot;
    return 0;
}

static void close_anchor (anchor_t *anchor, const rota_yaml_node_t *node, uint32_t nodes, uint32_t height)
{
    if (!anchor)
        return;
    anchor->node = *node;
    anchor->nodes = nodes;
    anchor->height = height;
    anchor->complete = true;
}

/* Puts a complete node into the list or mapping that is open. */
static int add_node (builder_t *self, const rota_yaml_node_t *node, uint32_t nodes, uint32_t height)
{
    if (self->depth > 0) {
        frame_t *frame = &self->frames[self->depth - 1];
        bool is_key = frame->head.kind == ROTA_YAML_MAPPING && (self->stack_count - frame->first) % 2 == 0;
        if (is_key && node->kind != ROTA_YAML_SCALAR) {
            rota_yaml_fault (self->sink, node, "a key must be a text, not %s", rota_yaml_kind_name (node));
            return -EINVAL;
        }
        frame->nodes += nodes;
        if (height + 1 > frame->height)
            frame->height = height + 1;
    }
    if (self->stack_count == self->stack_capacity) {
        size_t capacity = self->stack_capacity ? self->stack_capacity * 2 : 256;
        rota_yaml_node_t *stack = realloc (self->stack, capacity * sizeof *stack);
        if (!stack)
            return -ENOMEM;
        self->stack = stack;
        self->stack_capacity = capacity;
    }
    self->stack[self->stack_count++] = *node;
    return 0;
}

static int count_node (builder_t *self, const rota_yaml_node_t *node)
{
    if (++self->node_count <= MAX_NODES)
        return 0;
    rota_yaml_fault (self->sink, node, "more than %u million values", MAX_NODES >> 20);
    return -EINVAL;
}

/* Of YAML's tags only those of the core types mean something here. */
static void check_tag (const builder_t *self, const yaml_char_t *yaml_tag, const char *const *known,
                       rota_yaml_node_t *node)
{
    static const char CORE[] = "tag:yaml.org,2002:";
    const char *tag = (const char *)yaml_tag;
    if (!tag)
        return;
    if (!strcmp (tag, "!") || !strcmp (tag, "tag:yaml.org,2002:str")) {
        node->plain = false;
        return;
    }
    if (!strncmp (tag, CORE, sizeof CORE - 1))
        for (; *known; known++)
            if (!strcmp (tag + sizeof CORE - 1, *known)) {
                node->plain = true;
                return;
            }
    char shown[ROTA_YAML_SHOWN_BYTES];
    rota_yaml_fault (self->sink, node, "the tag %s is not supported here",
                     rota_yaml_show (tag, strlen (tag), shown));
}

static int on_scalar (builder_t *self, const yaml_event_t *event)
{
    static const char *const TAGS[] = {"int", "float", "bool", "null", "timestamp", "merge", NULL};
    rota_yaml_node_t node = node_at (ROTA_YAML_SCALAR, &event->start_mark);
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    if (memchr (text, 0, length)) {
        rota_yaml_fault (self->sink, &node, "a NUL character (\\0) is not allowed in a text");
        length = strlen (text);
    }
    node.plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    check_tag (self, event->data.scalar.tag, TAGS, &node);
    node.count = (uint32_t)length;
    node.text = rota_pool_text (self->texts, text, length);
    if (!node.text)
        return -ENOMEM;
    anchor_t *anchor;
    int rc = count_node (self, &node);
    if (rc == 0)
        rc = open_anchor (self, event->data.scalar.anchor, &node, &anchor);
    if (rc < 0)
        return rc;
    close_anchor (anchor, &node, 1, 0);
    return add_node (self, &node, 1, 0);
}

static int on_alias (builder_t *self, const yaml_event_t *event)
{
    rota_yaml_node_t at = node_at (ROTA_YAML_SCALAR, &event->start_mark);
    const char *name = (const char *)event->data.alias.anchor;
    char shown[ROTA_YAML_SHOWN_BYTES];
    rota_yaml_show (name, strlen (name), shown);
    const anchor_t *anchor = self->anchor_capacity ? *find_anchor (self, name) : NULL;
    if (!anchor) {
        rota_yaml_fault (self->sink, &at, "*%s: there is no anchor &%s before it", shown, shown);
        return -EINVAL;
    }
    if (!anchor->complete) {
        rota_yaml_fault (self->sink, &at, "*%s stands inside of what it names", shown);
        return -EINVAL;
    }
    if (self->depth + anchor->height > ROTA_YAML_MAX_DEPTH) {
        rota_yaml_fault (self->sink, &at, "*%s nests deeper than %d levels", shown, ROTA_YAML_MAX_DEPTH);
        return -EINVAL;
    }
    if (anchor->nodes > ROTA_YAML_MAX_ALIASED - self->aliased_count) {
        rota_yaml_fault (self->sink, &at, "*%s: aliases expand to more than %u values", shown,
                         ROTA_YAML_MAX_ALIASED);
        return -EINVAL;
    }
    self->aliased_count += anchor->nodes;
    rota_yaml_node_t node = anchor->node;
    node.line = at.line;
    node.column = at.column;
    return add_node (self, &node, anchor->nodes, anchor->height);
}

static int on_start (builder_t *self, rota_yaml_kind_t kind, const yaml_event_t *event,
                     const yaml_char_t *anchor_name, const yaml_char_t *tag)
{
    static const char *const TAGS[] = {"seq", "map", NULL};
    rota_yaml_node_t head = node_at (kind, &event->start_mark);
    if (self->depth == ROTA_YAML_MAX_DEPTH) {
        rota_yaml_fault (self->sink, &head, "nested deeper than %d levels", ROTA_YAML_MAX_DEPTH);
        return -EINVAL;
    }
    check_tag (self, tag, TAGS, &head);
    head.plain = false;
    frame_t *frame = &self->frames[self->depth];
    *frame = (frame_t){.head = head, .first = self->stack_count, .nodes = 1, .height = 1};
    int rc = count_node (self, &head);
    if (rc == 0)
        rc = open_anchor (self, anchor_name, &head, &frame->anchor);
    if (rc == 0)
        self->depth++;
    return rc;
}

/* ---- mappings: no key twice, merge keys resolved */

static void report_duplicate (const builder_t *self, const rota_yaml_node_t *first,
                              const rota_yaml_node_t *second)
{
    char shown[ROTA_YAML_SHOWN_BYTES];
    rota_yaml_fault (self->sink, second, "the key %s appears twice; first at line %u, column %u",
                     rota_yaml_show (second->text, second->count, shown), first->line, first->column);
}

static bool same_key (const rota_yaml_node_t *a, const rota_yaml_node_t *b)
{
    return a->count == b->count && !memcmp (a->text, b->text, a->count);
}

/* An index over pairs for as long as one mapping is being closed. */
static int reset_slots (builder_t *self, size_t pairs)
{
    size_t capacity = 64;
    while (capacity < pairs * 2)
        capacity *= 2;
    if (capacity > self->slot_capacity) {
        uint32_t *slots = realloc (self->slots, capacity * sizeof *slots);
        if (!slots)
            return -ENOMEM;
        self->slots = slots;
        self->slot_capacity = capacity;
    }
    memset (self->slots, 0, capacity * sizeof *self->slots);
    self->slot_mask = capacity - 1;
    return 0;
}

/* The pair with this key among `pairs`, which are in the table, or NULL; then the key is entered as the pair
 * number `count`. */
static const rota_yaml_pair_t *find_or_enter (const builder_t *self, const rota_yaml_pair_t *pairs,
                                              size_t count, const rota_yaml_node_t *key)
{
    size_t mask = self->slot_mask;
    size_t slot = hash (key->text) & mask;
    for (; self->slots[slot]; slot = (slot + 1) & mask)
        if (same_key (&pairs[self->slots[slot] - 1].key, key))
            return &pairs[self->slots[slot] - 1];
    self->slots[slot] = (uint32_t)count + 1;
    return NULL;
}

static const rota_yaml_pair_t *find_pair (const rota_yaml_pair_t *pairs, size_t count,
                                          const rota_yaml_node_t *key)
{
    for (size_t i = 0; i < count; i++)
        if (same_key (&pairs[i].key, key))
            return &pairs[i];
    return NULL;
}

static bool is_merge_key (const rota_yaml_node_t *key)
{
    return key->plain && !strcmp (key->text, "<<");
}

/* The mappings that a `<<` names, one or a list of them, as *ret_list. */
static int merge_sources (const builder_t *self, const rota_yaml_pair_t *merge,
                          const rota_yaml_node_t **ret_list, size_t *ret_count, size_t *pair_count)
{
    bool is_list = merge->value.kind == ROTA_YAML_LIST;
    const rota_yaml_node_t *list = is_list ? merge->value.items : &merge->value;
    size_t count = is_list ? merge->value.count : 1;
    for (size_t i = 0; i < count; i++) {
        if (list[i].kind != ROTA_YAML_MAPPING) {
            rota_yaml_fault (self->sink, &list[i], "<<: expected a mapping to merge, found %s",
                             rota_yaml_kind_name (&list[i]));
            return -EINVAL;
        }
        *pair_count += list[i].count;
    }
    *ret_list = list;
    *ret_count = count;
    return 0;
}

/* Own pairs go before merged ones, and of those the first wins: YAML's rule. */
static int merge_pairs (builder_t *self, rota_yaml_node_t *mapping, const rota_yaml_pair_t *merge)
{
    const rota_yaml_node_t *sources;
    size_t source_count, capacity = mapping->count;
    int rc = merge_sources (self, merge, &sources, &source_count, &capacity);
    if (rc < 0)
        return rc;
    rota_yaml_pair_t *pairs = rota_pool_alloc (self->nodes, capacity * sizeof *pairs);
    if (!pairs || reset_slots (self, capacity) < 0)
        return -ENOMEM;
    size_t count = 0;
    for (size_t i = 0; i < mapping->count; i++)
        if (&mapping->pairs[i] != merge && !find_or_enter (self, pairs, count, &mapping->pairs[i].key))
            pairs[count++] = mapping->pairs[i];
    for (size_t s = 0; s < source_count; s++)
        for (size_t i = 0; i < sources[s].count; i++)
            if (!find_or_enter (self, pairs, count, &sources[s].pairs[i].key))
                pairs[count++] = sources[s].pairs[i];
    mapping->pairs = pairs;
    mapping->count = (uint32_t)count;
    return 0;
}

static int close_mapping (builder_t *self, rota_yaml_node_t *mapping, const rota_yaml_node_t *children,
                          size_t child_count)
{
    size_t given = child_count / 2, count = 0;
    rota_yaml_pair_t *pairs = rota_pool_alloc (self->nodes, given * sizeof *pairs);
    const rota_yaml_pair_t *merge = NULL;
    bool large = given > SMALL_MAPPING;
    if (!pairs || (large && reset_slots (self, given) < 0))
        return -ENOMEM;
    for (size_t i = 0; i < given; i++) {
        const rota_yaml_node_t *key = &children[2 * i];
        const rota_yaml_pair_t *first =
            large ? find_or_enter (self, pairs, count, key) : find_pair (pairs, count, key);
        if (first) {
            report_duplicate (self, &first->key, key);
            continue;
        }
        pairs[count] = (rota_yaml_pair_t){*key, children[2 * i + 1]};
        if (is_merge_key (key))
            merge = &pairs[count];
        count++;
    }
    mapping->pairs = pairs;
    mapping->count = (uint32_t)count;
    return merge ? merge_pairs (self, mapping, merge) : 0;
}

static int on_end (builder_t *self)
{
    assert (self->depth > 0); /* libyaml's events are balanced */
    frame_t *frame = &self->frames[--self->depth];
    rota_yaml_node_t *node = &frame->head;
    size_t count = self->stack_count - frame->first;
    const rota_yaml_node_t *children = count ? self->stack + frame->first : NULL;
    if (node->kind == ROTA_YAML_LIST) {
        rota_yaml_node_t *items = rota_pool_alloc (self->nodes, count * sizeof *items);
        if (!items)
            return -ENOMEM;
        if (count)
            memcpy (items, children, count * sizeof *items);
        node->items = items;
        node->count = (uint32_t)count;
    } else {
        int rc = close_mapping (self, node, children, count);
        if (rc < 0)
            return rc;
    }
    self->stack_count = frame->first;
    close_anchor (frame->anchor, node, frame->nodes, frame->height);
    return add_node (self, node, frame->nodes, frame->height);
}

/* ---- the parse */

static int report_parser (const builder_t *self, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    rota_yaml_node_t at = node_at (ROTA_YAML_SCALAR, &parser->problem_mark);
    const char *problem = parser->problem ? parser->problem : "unreadable";
    if (parser->context)
        rota_yaml_fault (self->sink, &at, "not YAML: %s (%s from line %zu)", problem, parser->context,
                         parser->context_mark.line + 1);
    else
        rota_yaml_fault (self->sink, &at, "not YAML: %s", problem);
    return -EINVAL;
}

static int on_event (builder_t *self, const yaml_event_t *event, int *documents)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if ((*documents)++ == 0)
            return 0;
        rota_yaml_node_t at = node_at (ROTA_YAML_SCALAR, &event->start_mark);
        rota_yaml_fault (self->sink, &at, "a second document starts here; a file holds one");
        return -EINVAL;
    case YAML_SCALAR_EVENT:
        return on_scalar (self, event);
    case YAML_ALIAS_EVENT:
        return on_alias (self, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_start (self, ROTA_YAML_LIST, event, event->data.sequence_start.anchor,
                         event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return on_start (self, ROTA_YAML_MAPPING, event, event->data.mapping_start.anchor,
                         event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_end (self);
    default:
        return 0;
    }
}

static int run_parser (builder_t *self, yaml_parser_t *parser)
{
    int documents = 0;
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse (parser, &event))
            return report_parser (self, parser);
        bool at_end = event.type == YAML_STREAM_END_EVENT;
        int rc = on_event (self, &event, &documents);
        yaml_event_delete (&event);
        if (rc < 0 || at_end)
            return rc;
    }
}

int rota_yaml_parse (const char *bytes, size_t size_bytes, rota_pool_t *nodes, rota_pool_t *texts,
                     const rota_yaml_sink_t *sink, const rota_yaml_node_t **ret_root)
{
    static const char MARK[] = "\xEF\xBB\xBF"; /* what Windows editors put first; it is no character */
    if (size_bytes >= 3 && !memcmp (bytes, MARK, 3)) {
        bytes += 3;
        size_bytes -= 3;
    }
    int rc = check_bytes ((const unsigned char *)bytes, size_bytes, sink);
    if (rc < 0)
        return rc;
    yaml_parser_t parser;
    if (!yaml_parser_initialize (&parser))
        return -ENOMEM;
    yaml_parser_set_encoding (&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string (&parser, (const unsigned char *)bytes, size_bytes);

    builder_t builder = {.sink = sink, .nodes = nodes, .texts = texts};
    rc = run_parser (&builder, &parser);
    rota_yaml_node_t *root = NULL;
    if (rc == 0) {
        root = rota_pool_alloc (nodes, sizeof *root);
        if (!root)
            rc = -ENOMEM;
        else if (builder.stack_count)
            *root = builder.stack[0];
        else
            *root = (rota_yaml_node_t){
                .kind = ROTA_YAML_SCALAR, .plain = true, .line = 1, .column = 1, .text = ""};
    }
    yaml_parser_delete (&parser);
    free (builder.stack);
    free (builder.anchors);
    free (builder.slots);
    if (rc == 0)
        *ret_root = root;
    return rc;
}
