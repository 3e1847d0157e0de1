/* files.h - directories that others have written to: made, filled and removed without following a link.
 */
#ifndef ROTA_FILES_H
#define ROTA_FILES_H

#include "bus/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Removes what `name` in the directory `parent_fd` is, with all that is in it, however deep and whatever its
 * modes. 0, also when it isn't there; a negative errno when something is left. */
int rota_files_remove (int parent_fd, const char *name);
/* The same by path. */
int rota_files_remove_path (const char *path);

/* A new file in the place of whatever was there. */
int rota_files_write (const char *path, const void *bytes, size_t size_bytes, rota_error_t *error);
/* Written beside it, synced, and renamed into place. */
int rota_files_replace (const char *path, const void *bytes, size_t size_bytes, rota_error_t *error);
/* A directory, 0700, which may be there. */
int rota_files_make_directory (const char *path, rota_error_t *error);
/* With those above it. */
int rota_files_make_directories (const char *path, rota_error_t *error);
/* 0, or -ENOENT when there is no such file. */
int rota_files_copy (const char *from, const char *to, rota_error_t *error);

/* Itself, not what a link leads to. */
bool rota_files_is_directory (const char *path);
bool rota_files_is_there (const char *path);

#endif
