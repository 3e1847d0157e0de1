/* `prompt: @file`: the only thing that a roadmap file leads to. */
#include "scheduler/roadmap_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where `name` leads, malloc'ed: in the roadmap's directory or below, unless the user wrote an absolute path.
 * NULL after a report. */
static char *resolve_prompt (rota_roadmap_target_t *target, const rota_yaml_node_t *value, const char *name)
{
    const char *directory = target->reader->file_directory;
    char shown[ROTA_YAML_SHOWN_BYTES];
    rota_yaml_show (name, strlen (name), shown);
    char *path = NULL;
    if (asprintf (&path, "%s%s%s", name[0] == '/' ? "" : directory, name[0] == '/' ? "" : "/", name) < 0) {
        target->reader->no_memory = true;
        return NULL;
    }
    char *real = realpath (path, NULL);
    free (path);
    if (!real) {
        rota_yaml_fault (&target->sink, value, "prompt: @%s: %s", shown, strerror (errno));
        return NULL;
    }
    size_t length = strlen (directory);
    bool below = !strncmp (real, directory, length) && (real[length] == '/' || !strcmp (directory, "/"));
    if (name[0] != '/' && !below) {
        rota_yaml_fault (&target->sink, value, "prompt: @%s leads out of the roadmap's directory", shown);
        free (real);
        return NULL;
    }
    return real;
}

/* At most MAX_PROMPT_BYTES of an ordinary file; NULL when it is none, is larger or can't be read. */
static char *read_small_file (const char *path, size_t *ret_length, const char **ret_reason)
{
    /* O_NONBLOCK: opening a FIFO must not wait for who never comes. */
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    char *text = NULL;
    size_t used = 0;
    ssize_t got = 0;
    *ret_reason = NULL;
    if (fd < 0 || fstat (fd, &status) < 0)
        *ret_reason = strerror (errno);
    else if (!S_ISREG (status.st_mode))
        *ret_reason = "not an ordinary file";
    else if (status.st_size > (off_t)ROTA_ROADMAP_MAX_PROMPT_BYTES)
        *ret_reason = "larger than 256 KiB";
    else if (!(text = malloc (ROTA_ROADMAP_MAX_PROMPT_BYTES)))
        *ret_reason = "out of memory";
    while (text && used < ROTA_ROADMAP_MAX_PROMPT_BYTES &&
           (got = read (fd, text + used, ROTA_ROADMAP_MAX_PROMPT_BYTES - used)) > 0)
        used += (size_t)got;
    if (text && got < 0)
        *ret_reason = strerror (errno);
    else if (text && !rota_text_is_valid (text, used, true))
        *ret_reason = "not a UTF-8 text";
    if (fd >= 0)
        close (fd);
    if (*ret_reason) {
        free (text);
        return NULL;
    }
    *ret_length = used;
    return text;
}

void rota_roadmap_read_prompt (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    Rota__TaskSpec *spec = target->spec;
    if (value->text[0] != '@')
        return;
    if (value->text[1] == '@') { /* a text that begins with one */
        spec->prompt = rota_bytes_n (value->text + 1, value->count - 1);
        return;
    }
    char *path = resolve_prompt (target, value, value->text + 1);
    if (!path)
        return;
    size_t length;
    const char *reason;
    char *text = read_small_file (path, &length, &reason);
    if (text) {
        spec->prompt = rota_roadmap_copy (target->reader, text, length);
    } else {
        char shown[ROTA_YAML_SHOWN_BYTES];
        rota_yaml_fault (&target->sink, value, "prompt: %s: %s",
                         rota_yaml_show (value->text, value->count, shown), reason);
    }
    free (text);
    free (path);
}
