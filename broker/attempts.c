#include "broker/attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRIES 20

typedef enum {
    SEEN,
    HIDDEN, /* another user's, where /proc shows one's own alone (ProtectProc=invisible, hidepid) */
    ENDED
} look_t;

/* Its parent, name and state. The name may hold anything, so that what follows it is found from behind. */
static look_t look (pid_t pid, pid_t *ret_parent, char ret_name[32], char *ret_state)
{
    char path[64], text[512];
    int parent;
    snprintf (path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kill (pid, 0) == 0 || errno == EPERM ? HIDDEN : ENDED;
    ssize_t size = read (fd, text, sizeof text - 1);
    close (fd);
    text[size > 0 ? size : 0] = '\0';
    const char *begin = strchr (text, '('), *end = strrchr (text, ')');
    if (!begin || !end || end < begin || sscanf (end + 1, " %c %d", ret_state, &parent) != 2)
        return ENDED;
    snprintf (ret_name, 32, "%.*s", (int)(end - begin - 1), begin + 1);
    *ret_parent = parent;
    return SEEN;
}

/* As agents/shim.c and agents/spawner_process.c name themselves. */
static bool holds_attempts (const char *name)
{
    return strcmp (name, "rota-shim") == 0 || strcmp (name, "rota-spawner") == 0;
}

void rota_attempts_init (rota_attempts_t *self)
{
    pid_t pid = getpid (), parent;
    char name[32], state;
    *self = (rota_attempts_t){0};
    for (int i = 0; i < ROTA_ATTEMPTS_DEPTH && pid > 0 && look (pid, &parent, name, &state) == SEEN;
         i++, pid = parent)
        if (holds_attempts (name))
            self->own[self->own_count++] = pid;
}

/* False: an ancestor ended while it was looked at, and what was its child has another parent now. */
static bool climb (const rota_attempts_t *self, pid_t pid, rota_attempts_place_t *ret_place)
{
    pid_t parent;
    char name[32], state;
    *ret_place = ROTA_ATTEMPTS_FREE;
    for (int i = 0; i < ROTA_ATTEMPTS_DEPTH && pid > 0; i++, pid = parent) {
        look_t found = look (pid, &parent, name, &state);
        if (found == HIDDEN)
            return true; /* the shims of those who may connect here are of this broker's own user */
        if (found == ENDED)
            return false;
        if (!holds_attempts (name))
            continue;
        for (size_t own = 0; own < self->own_count; own++)
            if (self->own[own] == pid)
                return true;
        *ret_place = ROTA_ATTEMPTS_WITHIN;
        return true;
    }
    if (pid > 0)
        *ret_place = ROTA_ATTEMPTS_WITHIN; /* nobody's shell is that deep */
    return true;
}

rota_attempts_place_t rota_attempts_place (const rota_attempts_t *self, pid_t pid)
{
    rota_attempts_place_t place;
    for (int i = 0; i < TRIES; i++) {
        pid_t parent;
        char name[32], state;
        look_t found = look (pid, &parent, name, &state);
        if (found == HIDDEN)
            return ROTA_ATTEMPTS_FREE;
        if (found == ENDED || state == 'Z' || state == 'X')
            break;
        if (climb (self, pid, &place))
            return place;
    }
    return ROTA_ATTEMPTS_GONE;
}
