#include "agents/logs.h"

#include "bus/names.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TASKS_PER_STEP 50

struct rota_logs_walk {
    char path[ROTA_LOGS_PATH_BYTES];
    int64_t age_ms;
    DIR *tasks;
};

static int directory_of (const char *state_dir, const char *task, size_t length,
                         char ret_path[ROTA_LOGS_PATH_BYTES])
{
    char name[ROTA_ENCODED_MAX_BYTES];
    rota_id_encode (task, length, name);
    int size = snprintf (ret_path, ROTA_LOGS_PATH_BYTES, "%s/logs/%s", state_dir, name);
    /* Room for the number. */
    return size + 16 < ROTA_LOGS_PATH_BYTES ? size : -ENAMETOOLONG;
}

int rota_logs_path (const char *state_dir, const char *task, size_t task_length, uint32_t attempt,
                    char ret_path[ROTA_LOGS_PATH_BYTES])
{
    int size = directory_of (state_dir, task, task_length, ret_path);
    if (size < 0)
        return size;
    snprintf (ret_path + size, (size_t)(ROTA_LOGS_PATH_BYTES - size), "/%u", attempt);
    return 0;
}

int rota_logs_prepare (const char *path, rota_error_t *error)
{
    char directory[ROTA_LOGS_PATH_BYTES];
    snprintf (directory, sizeof directory, "%s", path);
    char *end = strrchr (directory, '/');
    if (!end)
        return rota_error_set (error, -EINVAL, "%s is no path of a log", path);
    *end = 0;
    if (mkdir (directory, 0700) == 0 || errno == EEXIST)
        return 0;
    if (errno == ENOENT) {
        char *parent = strrchr (directory, '/');
        if (parent) {
            *parent = 0;
            mkdir (directory, 0700);
            *parent = '/';
        }
        if (mkdir (directory, 0700) == 0 || errno == EEXIST)
            return 0;
    }
    return rota_error_set (error, -errno, "can't make the directory %s: %s", directory, strerror (errno));
}

uint32_t rota_logs_newest (const char *state_dir, const char *task, size_t task_length)
{
    char path[ROTA_LOGS_PATH_BYTES];
    uint32_t newest = 0;
    if (directory_of (state_dir, task, task_length, path) < 0)
        return 0;
    DIR *directory = opendir (path);
    if (!directory)
        return 0;
    for (struct dirent *entry; (entry = readdir (directory));) {
        char *end;
        if (!isdigit ((unsigned char)entry->d_name[0]))
            continue;
        unsigned long number = strtoul (entry->d_name, &end, 10);
        if (!*end && number <= UINT32_MAX && number > newest)
            newest = (uint32_t)number;
    }
    closedir (directory);
    return newest;
}

rota_logs_walk_t *rota_logs_walk_new (const char *state_dir, int64_t age_ms)
{
    rota_logs_walk_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    snprintf (self->path, sizeof self->path, "%s/logs", state_dir);
    self->age_ms = age_ms;
    return self;
}

void rota_logs_walk_destroy (rota_logs_walk_t **self_p)
{
    rota_logs_walk_t *self = *self_p;
    if (!self)
        return;
    if (self->tasks)
        closedir (self->tasks);
    free (self);
    *self_p = NULL;
}

static void trim_task (rota_logs_walk_t *self, const char *name, int64_t now_ms)
{
    int fd = openat (dirfd (self->tasks), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *directory = fd < 0 ? NULL : fdopendir (fd);
    if (!directory) {
        if (fd >= 0)
            close (fd);
        return;
    }
    bool empty = true;
    for (struct dirent *entry; (entry = readdir (directory));) {
        struct stat info;
        if (entry->d_name[0] == '.' || fstatat (fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        int64_t written_ms = (int64_t)info.st_mtim.tv_sec * 1000;
        if (!S_ISREG (info.st_mode) || now_ms - written_ms < self->age_ms ||
            unlinkat (fd, entry->d_name, 0) < 0)
            empty = false;
    }
    closedir (directory);
    /* Fails when something has come meanwhile, and then it stays. */
    if (empty)
        unlinkat (dirfd (self->tasks), name, AT_REMOVEDIR);
}

bool rota_logs_walk_step (rota_logs_walk_t *self, int64_t now_wall_ms)
{
    if (!self->tasks)
        self->tasks = opendir (self->path);
    for (int i = 0; self->tasks && i < TASKS_PER_STEP; i++) {
        struct dirent *entry = readdir (self->tasks);
        if (!entry) {
            closedir (self->tasks);
            self->tasks = NULL;
        } else if (entry->d_name[0] != '.') {
            trim_task (self, entry->d_name, now_wall_ms);
        }
    }
    return self->tasks != NULL;
}
