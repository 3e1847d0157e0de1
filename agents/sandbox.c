#include "agents/sandbox_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRY_MS 20000

/* Replaced by empty ones: nothing there is needed, and much there leads out. */
static const char *const EMPTY[] = {"/tmp", "/var/tmp", "/run"};
/* But names are to be found, where /etc/resolv.conf is a link. */
static const char *const RESOLVERS[] = {"/run/systemd/resolve", "/run/resolvconf",
                                        "/run/NetworkManager/resolv.conf"};

/* Of root's powers those stay that reach no further than the files it sees. */
static const char *const POWERS[] = {"CAP_CHOWN",  "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID",
                                     "CAP_SETUID", "CAP_SETGID",       "CAP_KILL"};

/* What a shim sends reaches all of its tree. bwrap would die of it and take all with it, so it ignores that,
 * and this sets it back for what runs inside. The shell is for programs with = in their names. */
static const char *const INSIDE[] = {"env", "--default-signal=TERM,INT,HUP,URG", "sh", "-c",
                                     "exec \"$0\" \"$@\""};
#define INSIDE_COUNT (sizeof INSIDE / sizeof *INSIDE)

void rota_sandbox_add (rota_sandbox_t *self, const char *argument)
{
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 64;
        char **list = rota_pool_alloc (self->pool, capacity * sizeof *list);
        if (!list) {
            self->failed = true;
            return;
        }
        if (self->count)
            memcpy (list, self->arguments, self->count * sizeof *list);
        self->arguments = list;
        self->capacity = capacity;
    }
    char *copy = rota_pool_text (self->pool, argument, strlen (argument));
    self->arguments[self->count++] = copy;
    self->failed |= !copy;
}

void rota_sandbox_add_two (rota_sandbox_t *self, const char *option, const char *value)
{
    rota_sandbox_add (self, option);
    rota_sandbox_add (self, value);
}

static void add_at (rota_sandbox_t *self, const char *option, const char *from, const char *at)
{
    rota_sandbox_add_two (self, option, from);
    rota_sandbox_add (self, at);
}

void rota_sandbox_add_bind (rota_sandbox_t *self, const char *option, const char *path)
{
    char real[PATH_MAX];
    if (!realpath (path, real))
        return;
    add_at (self, option, real, real);
    if (strcmp (real, path) != 0 && !strstr (path, "/../"))
        add_at (self, option, real, path);
}

bool rota_sandbox_is_below (const char *path, const char *directory)
{
    size_t length = strcmp (directory, "/") == 0 ? 0 : strlen (directory);
    return strncmp (path, directory, length) == 0 && (path[length] == '/' || !path[length]);
}

/* What is mounted later covers what lies below it. */
static bool holds_one (const char *path, const char *const *others)
{
    char real[PATH_MAX], other[PATH_MAX];
    for (size_t i = 0; realpath (path, real) && others[i]; i++)
        if (realpath (others[i], other) && strcmp (other, real) != 0 && rota_sandbox_is_below (other, real))
            return true;
    return false;
}

void rota_sandbox_hide (rota_sandbox_t *self, const char *path)
{
    char real[PATH_MAX];
    struct stat info;
    if (!realpath (path, real) || stat (real, &info) < 0)
        return;
    if (S_ISDIR (info.st_mode))
        rota_sandbox_add_two (self, "--tmpfs", real);
    else
        add_at (self, "--ro-bind", "/dev/null", real);
}

/* Nothing can be left in what is hidden, so that nobody believes it was kept. */
static void seal (rota_sandbox_t *self, const char *path)
{
    char real[PATH_MAX];
    struct stat info;
    if (realpath (path, real) && stat (real, &info) == 0 && S_ISDIR (info.st_mode))
        rota_sandbox_add_two (self, "--remount-ro", real);
}

/* And `rota` beside it, for the agent's tools (tools.h). */
static void add_own_program (rota_sandbox_t *self)
{
    char path[PATH_MAX];
    ssize_t length = readlink ("/proc/self/exe", path, sizeof path - sizeof "rota");
    if (length <= 0)
        return;
    path[length] = '\0';
    rota_sandbox_add_bind (self, "--ro-bind", path);
    strcpy (strrchr (path, '/') + 1, "rota");
    rota_sandbox_add_bind (self, "--ro-bind", path);
}

static void add_places (rota_sandbox_t *self, const rota_sandbox_spec_t *spec)
{
    rota_sandbox_add_two (self, "--dev", "/dev");
    rota_sandbox_add_two (self, "--proc", "/proc");
    add_at (self, "--bind", spec->tmp, EMPTY[0]);
    for (size_t i = 1; i < sizeof EMPTY / sizeof *EMPTY; i++)
        if (access (EMPTY[i], F_OK) == 0)
            rota_sandbox_add_two (self, "--tmpfs", EMPTY[i]);
    for (size_t i = 0; i < sizeof RESOLVERS / sizeof *RESOLVERS; i++)
        rota_sandbox_add_bind (self, "--ro-bind", RESOLVERS[i]);
    rota_sandbox_show_system (self);
    if (spec->home && spec->instead)
        add_at (self, "--bind", spec->instead, spec->home);
    if (spec->home && spec->logins)
        rota_sandbox_show_logins (self, spec);
    rota_sandbox_show_tools (self, spec);
    rota_sandbox_show_programs (self, spec);
    add_own_program (self);
}

static void build (rota_sandbox_t *self, const rota_sandbox_spec_t *spec)
{
    static const char *const NONE[] = {NULL};
    const char *const *shown = spec->show ? spec->show : NONE, *const *hidden =
                                                                   spec->hide ? spec->hide : NONE;
    const char *const *read = spec->read ? spec->read : NONE, *const *written =
                                                                  spec->write ? spec->write : NONE;
    rota_sandbox_add (self, "bwrap");
    rota_sandbox_add_two (self, "--unshare-pid", "--unshare-ipc");
    rota_sandbox_add_two (self, "--die-with-parent", "--new-session");
    if (geteuid () == 0) {
        rota_sandbox_add_two (self, "--cap-drop", "ALL");
        for (size_t i = 0; i < sizeof POWERS / sizeof *POWERS; i++)
            rota_sandbox_add_two (self, "--cap-add", POWERS[i]);
    }
    add_places (self, spec);
    for (size_t i = 0; shown[i]; i++)
        rota_sandbox_add_bind (self, "--ro-bind", shown[i]);
    rota_sandbox_show_more (self, spec);
    for (size_t i = 0; written[i]; i++)
        if (holds_one (written[i], hidden))
            rota_sandbox_add_bind (self, "--bind", written[i]);
    for (size_t i = 0; hidden[i]; i++)
        rota_sandbox_hide (self, hidden[i]);
    for (size_t i = 0; read[i]; i++)
        rota_sandbox_add_bind (self, "--ro-bind", read[i]);
    for (size_t i = 0; written[i]; i++)
        if (!holds_one (written[i], hidden))
            rota_sandbox_add_bind (self, "--bind", written[i]);
    rota_sandbox_add_bind (self, "--bind", spec->clone);
    for (size_t i = 0; hidden[i]; i++)
        seal (self, hidden[i]);
    rota_sandbox_add_two (self, "--remount-ro", "/");
    rota_sandbox_add_two (self, "--chdir", spec->clone);
}

char **rota_sandbox_command (const rota_sandbox_t *self, char *const *argv)
{
    size_t count = 0, used = 0;
    while (argv[count])
        count++;
    if (!self->isolated)
        return (char **)argv;
    char **list = rota_pool_alloc (self->pool, (self->count + 1 + INSIDE_COUNT + count + 1) * sizeof *list);
    if (!list)
        return NULL;
    for (; used < self->count; used++)
        list[used] = self->arguments[used];
    list[used++] = (char *)"--";
    for (size_t i = 0; i < INSIDE_COUNT; i++)
        list[used++] = (char *)INSIDE[i];
    for (size_t i = 0; i < count; i++)
        list[used++] = argv[i];
    list[used] = NULL;
    return list;
}

static void try (rota_sandbox_t *self)
{
    static char *const TRUE[] = {(char *)"true", NULL};
    rota_child_end_t end;
    rota_error_t error = {""};
    rota_bytes_t nothing = {.max_bytes = 0};
    self->isolated = true;
    const rota_child_t child = {
        .argv = rota_sandbox_command (self, TRUE),
        .environment = environ,
        .signals = ROTA_CHILD_SHELTERED,
        .input_fd = -1,
        .held_fd = -1,
        .take = rota_bytes_take,
        .context = &nothing,
        .timeout_ms = TRY_MS,
    };
    int status = child.argv ? rota_child_run (&child, &end, &error) : -ENOMEM;
    self->failed |= !child.argv;
    if (status == 0 && end.wait_status)
        rota_error_set (&error, -EPERM, "%.*s", (int)strcspn (end.words, "\n"), end.words);
    self->isolated = status == 0 && end.wait_status == 0;
    if (!self->isolated)
        self->why_not = rota_pool_text (self->pool, error.text, strlen (error.text));
    rota_bytes_clear (&nothing);
}

int rota_sandbox_prepare (rota_pool_t *pool, const rota_sandbox_spec_t *spec, rota_sandbox_t *ret_self,
                          rota_error_t *error)
{
    rota_sandbox_t self = {.pool = pool, .why_not = "it is switched off"};
    if (!spec->off) {
        build (&self, spec);
        if (!self.failed)
            try (&self);
    }
    if (self.failed)
        return rota_error_set (error, -ENOMEM, "no memory");
    *ret_self = self;
    return 0;
}

bool rota_sandbox_works (char *ret_why_not)
{
    const char *const nothing[] = {NULL};
    const rota_sandbox_spec_t spec = {
        .clone = "/tmp", .tmp = "/tmp", .write = nothing, .hide = nothing, .show = nothing, .read = nothing};
    rota_sandbox_t sandbox = {0};
    rota_error_t error = {""};
    rota_pool_t *pool = rota_pool_new ();
    bool works = pool && rota_sandbox_prepare (pool, &spec, &sandbox, &error) == 0 && sandbox.isolated;
    snprintf (ret_why_not, 256, "%s", works ? "" : sandbox.why_not ? sandbox.why_not : error.text);
    rota_pool_destroy (&pool);
    return works;
}
