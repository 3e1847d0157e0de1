#include "bus/rundir.h"
#include "bus/names.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names in the directory are no longer than this one. */
#define LONGEST_NAME "/service.sock"

static bool fits_socket (const char *directory)
{
    return strlen (directory) + strlen (LONGEST_NAME) < ROTA_RUNDIR_PATH_BYTES;
}

/* A link is not followed: in a place like /tmp somebody else may have put it there. */
static int check_directory (const char *path, rota_error_t *error)
{
    struct stat status;
    if (lstat (path, &status) < 0)
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    if (!S_ISDIR (status.st_mode))
        return rota_error_set (error, -ENOTDIR, "%s is not a directory", path);
    if (status.st_uid != geteuid ())
        return rota_error_set (error, -EPERM, "%s belongs to another user", path);
    if (status.st_mode & 077)
        return rota_error_set (error, -EPERM, "%s is open to other users (chmod 700 it)", path);
    return 0;
}

static int make_directory (const char *path, bool create, rota_error_t *error)
{
    if (create && mkdir (path, 0700) < 0 && errno != EEXIST)
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    return check_directory (path, error);
}

static bool is_own_directory (const char *path)
{
    struct stat status;
    return path && path[0] == '/' && stat (path, &status) == 0 && S_ISDIR (status.st_mode) &&
           status.st_uid == geteuid ();
}

static void short_place (const char *real_state, char *ret_path, size_t capacity)
{
    uint64_t hash = rota_hash (real_state, strlen (real_state));
    const char *runtime = getenv ("XDG_RUNTIME_DIR");
    int length = -1;
    if (is_own_directory (runtime))
        length = snprintf (ret_path, capacity, "%s/rota-%016" PRIx64, runtime, hash);
    if (length < 0 || (size_t)length >= capacity || !fits_socket (ret_path))
        snprintf (ret_path, capacity, "/tmp/rota-%u-%016" PRIx64, (unsigned)geteuid (), hash);
}

/* Makes `link` point at `place`, whatever it pointed at before. */
static int point_to (const char *link, const char *place, rota_error_t *error)
{
    if (symlink (place, link) == 0)
        return 0;
    if (errno == EEXIST && unlink (link) == 0 && symlink (place, link) == 0)
        return 0;
    return rota_error_set (error, -errno, "%s: %s", link, strerror (errno));
}

/* The link in the state directory, which only its owner can have put there, wins over today's environment. */
static int long_place (const char *run, const char *real_state, bool create, char *ret_place, size_t capacity,
                       rota_error_t *error)
{
    ssize_t length = readlink (run, ret_place, capacity - 1);
    if (length > 0) {
        ret_place[length] = 0;
        if (fits_socket (ret_place) && check_directory (ret_place, NULL) == 0)
            return 0;
    }
    short_place (real_state, ret_place, capacity);
    int result = make_directory (ret_place, create, error);
    if (result == 0 && create)
        result = point_to (run, ret_place, error);
    return result;
}

int rota_rundir (const char *state_dir, bool create, char *ret_path, size_t capacity, rota_error_t *error)
{
    char real_state[PATH_MAX], place[PATH_MAX], run[PATH_MAX + sizeof "/run"];
    if (!realpath (state_dir, real_state))
        return rota_error_set (error, -errno, "%s: %s", state_dir, strerror (errno));
    snprintf (run, sizeof run, "%s/run", strcmp (real_state, "/") == 0 ? "" : real_state);

    int result;
    const char *found = place;
    if (fits_socket (run)) {
        found = run;
        result = make_directory (run, create, error);
    } else {
        result = long_place (run, real_state, create, place, sizeof place, error);
    }
    if (result < 0)
        return result;
    if (strlen (found) >= capacity)
        return rota_error_set (error, -ENAMETOOLONG, "%s: too long", found);
    memcpy (ret_path, found, strlen (found) + 1);
    return 0;
}

static void socket_endpoint (const char *rundir, const char *name, char ret_text[ROTA_RUNDIR_ENDPOINT_BYTES])
{
    snprintf (ret_text, ROTA_RUNDIR_ENDPOINT_BYTES, "ipc://%s/%s", rundir, name);
}

void rota_rundir_endpoints (const char *rundir, rota_rundir_endpoints_t *ret_endpoints)
{
    socket_endpoint (rundir, "client.sock", ret_endpoints->client);
    socket_endpoint (rundir, "agent.sock", ret_endpoints->agent);
    socket_endpoint (rundir, "service.sock", ret_endpoints->service);
    socket_endpoint (rundir, "events.sock", ret_endpoints->events);
    socket_endpoint (rundir, "publish.sock", ret_endpoints->publish);
}
