/* files.h - the journal's directory: file operations that a test can replace, names, and the list of files.
 *
 * A journal file is events-YYYY-MM-DD.N.jsonl, or .jsonl.gz once it is compressed; N counts the files of a
 * day from 1. Whatever ends in ".tmp" is unfinished and goes at the next start.
 *
 * Owner thread: any; nothing is kept.
 */
#ifndef ROTA_TELEMETRY_FILES_H
#define ROTA_TELEMETRY_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ROTA_JOURNAL_NAME_BYTES 48

/* All that changes the disk goes through these. Each returns 0 or more, or a negative errno. */
typedef struct {
    void *owner;
    int (*open) (void *owner, int directory, const char *name, int flags); /* a descriptor; mode 0600 */
    ssize_t (*write) (void *owner, int fd, const void *bytes, size_t size_bytes); /* may be short */
    int (*sync) (void *owner, int fd);
    int (*truncate) (void *owner, int fd, int64_t size_bytes);
    int (*rename) (void *owner, int directory, const char *from, const char *to);
    int (*unlink) (void *owner, int directory, const char *name);
} rota_file_ops_t;

extern const rota_file_ops_t ROTA_FILE_OPS; /* the kernel's */

typedef struct {
    char name[ROTA_JOURNAL_NAME_BYTES];
    int32_t day; /* UTC days since 1970-01-01 */
    uint32_t number;
    bool compressed;
    int64_t size_bytes;
    int64_t modified_ms;
} rota_journal_file_t;

/* The UTC day of a time, held between 1970-01-01 and 9999-12-31: what a name can say. */
int32_t rota_journal_day (int64_t wall_ms);

void rota_journal_name (int32_t day, uint32_t number, bool compressed,
                        char ret_name[ROTA_JOURNAL_NAME_BYTES]);
/* Fills name, day, number and compressed. False for a name that is not one of ours. */
bool rota_journal_name_parse (const char *name, rota_journal_file_t *ret_file);

/* The journal files of a directory by day and number, the plain one before the compressed one of the same;
 * the caller frees the array (NULL when empty). With `leftovers`, unfinished files are removed on the way. 0,
 * -ENOMEM, or what the kernel says. */
int rota_journal_list (const rota_file_ops_t *ops, int directory, bool leftovers,
                       rota_journal_file_t **ret_files, size_t *ret_count);

#endif
