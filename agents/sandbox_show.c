/* sandbox_show.c - what of the file system is to be seen in a sandbox: programs and what they need, and not
 * what people keep.
 */
#include "agents/sandbox_internal.h"

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a distribution installs; those that aren't there are passed over. /var is for data, but some
 * toolchains keep their packages there. */
static const char *const SYSTEM[] = {
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/sys",
    "/nix",
    "/gnu",
    "/snap",
    "/run/current-system", /* NixOS */
    "/var/run",
    ("/home"
     "/linuxbrew/.linuxbrew"), /* Homebrew, on every machine that has it */
    "/var/lib/dpkg",
    "/var/lib/rpm",
    "/var/lib/alternatives",
    "/var/lib/gems",
    "/var/lib/ghc",
    "/var/lib/ocaml",
    "/var/lib/texmf",
    "/var/lib/snapd",
    "/var/cache/fontconfig",
};
#define SYSTEM_COUNT (sizeof SYSTEM / sizeof *SYSTEM)

/* Of that, what only root can read and no program that works on a repository has to. */
static const char *const SECRET[] = {
    "/etc/shadow",   "/etc/shadow-",          "/etc/gshadow",
    "/etc/gshadow-", "/etc/security/opasswd", "/etc/ssh/ssh_host_*key",
    "/etc/sudoers*", "/etc/ssl/private",      "/etc/krb5.keytab",
    "/etc/rota",
};

/* Where toolchains are kept in a home. Nothing that has a login in it: ~/.cargo and ~/.m2 have. */
static const char *const TOOLCHAINS[] = {
    ".rustup",
    ".cargo/bin",
    ".nvm",
    ".fnm",
    ".local/share/fnm",
    ".volta",
    ".asdf",
    ".local/share/mise",
    ".pyenv",
    ".rbenv",
    ".sdkman",
    ".jenv",
    ".ghcup",
    ".opam",
    ".juliaup",
    ".dotnet",
    ".bun/bin",
    ".deno/bin",
    ".npm-global",
    ".linuxbrew",
    "go/bin",
    "go/pkg/mod",
    ".local/bin",
    ".local/lib",
    ".local/pipx",
    ".local/share/pipx",
    ".local/share/uv/python",
    ".local/share/uv/tools",
};

/* What these say is where a toolchain or the certificates of a company are. */
static const char *const NAMED[] = {
    "JAVA_HOME",     "GOROOT",         "RUSTUP_HOME",        "VIRTUAL_ENV",    "NODE_PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR",   "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    "CONDA_PREFIX",  "GIT_SSL_CAINFO",
};

/* Where an agent program keeps login and sessions when its settings say nothing else. */
static const struct {
    const char *part, *path; /* of the program's name; in the user's home */
} LOGINS[] = {
    {"claude", ".claude"},
    {"claude", ".claude.json"},
    {"codex", ".codex"},
    {"gemini", ".gemini"},
    {"qwen", ".qwen"},
    {"opencode", ".config/opencode"},
    {"opencode", ".cache/opencode"},
    {"opencode", ".local/share/opencode"},
    {"opencode", ".local/state/opencode"},
    {"goose", ".config/goose"},
    {"goose", ".local/share/goose"},
    {"copilot", ".copilot"},
    {"cursor", ".cursor"},
    {"cursor", ".config/cursor"},
};

static bool is_system (const char *real)
{
    char other[PATH_MAX];
    for (size_t i = 0; i < SYSTEM_COUNT; i++)
        if (realpath (SYSTEM[i], other) && rota_sandbox_is_below (real, other))
            return true;
    return false;
}

/* Too much to be shown because a program happens to lie there: homes, and what holds one. */
static bool is_too_wide (const char *real, const char *home)
{
    char other[PATH_MAX];
    if (rota_sandbox_is_below ("/home", real) || rota_sandbox_is_below ("/root", real))
        return true;
    if (strncmp (real, "/home/", 6) == 0 && !strchr (real + 6, '/'))
        return true;
    return home && realpath (home, other) && rota_sandbox_is_below (other, real);
}

/* Found, not told: so neither a home nor what is shown anyway. */
static void show_found (rota_sandbox_t *self, const char *path, const char *home)
{
    char real[PATH_MAX];
    if (realpath (path, real) && !is_system (real) && !is_too_wide (real, home))
        rota_sandbox_add_bind (self, "--ro-bind", path);
}

void rota_sandbox_show_system (rota_sandbox_t *self)
{
    char target[PATH_MAX];
    for (size_t i = 0; i < SYSTEM_COUNT; i++) {
        ssize_t length = readlink (SYSTEM[i], target, sizeof target - 1);
        if (length > 0) {
            target[length] = '\0';
            rota_sandbox_add_two (self, "--symlink", target);
            rota_sandbox_add (self, SYSTEM[i]);
        } else {
            rota_sandbox_add_bind (self, "--ro-bind", SYSTEM[i]);
        }
    }
    for (size_t i = 0; i < sizeof SECRET / sizeof *SECRET; i++) {
        glob_t found;
        if (glob (SECRET[i], GLOB_NOSORT, NULL, &found) != 0)
            continue;
        for (size_t n = 0; n < found.gl_pathc; n++)
            if (access (found.gl_pathv[n], R_OK) == 0)
                rota_sandbox_hide (self, found.gl_pathv[n]);
        globfree (&found);
    }
}

/* A directory of programs, and beside it what they were installed with. */
static void show_beside (rota_sandbox_t *self, const char *directory, const char *home)
{
    static const char *const BESIDE[] = {"lib", "lib64", "libexec", "include", "share"};
    char path[PATH_MAX];
    const char *name = strrchr (directory, '/');
    show_found (self, directory, home);
    size_t length = name ? (size_t)(name - directory) : 0;
    if (length == 0 || length >= sizeof path || (strcmp (name, "/bin") != 0 && strcmp (name, "/sbin") != 0))
        return;
    memcpy (path, directory, length);
    path[length] = '\0';
    /* ~/lib is no library, and in ~/.local/share are keys. */
    char real[PATH_MAX];
    if (!realpath (path, real) || is_too_wide (real, home))
        return;
    bool local = length > 7 && strcmp (path + length - 7, "/.local") == 0;
    for (size_t i = 0; i < sizeof BESIDE / sizeof *BESIDE - local; i++)
        if (snprintf (path, sizeof path, "%.*s/%s", (int)length, directory, BESIDE[i]) < (int)sizeof path)
            show_found (self, path, home);
}

/* Packages of npm need those beside them. */
static bool show_node_modules (rota_sandbox_t *self, const char *real, const char *home)
{
    static const char NAME[] = "/node_modules";
    char path[PATH_MAX];
    const char *at = strstr (real, NAME);
    if (!at || (at[sizeof NAME - 1] && at[sizeof NAME - 1] != '/'))
        return false;
    snprintf (path, sizeof path, "%.*s", (int)(at - real + (ssize_t)sizeof NAME - 1), real);
    show_found (self, path, home);
    return true;
}

static void show_directory (rota_sandbox_t *self, const char *directory, const char *home)
{
    char real[PATH_MAX];
    if (*directory == '/' && realpath (directory, real) && !is_system (real) &&
        !show_node_modules (self, directory, home))
        show_beside (self, directory, home);
}

void rota_sandbox_show_tools (rota_sandbox_t *self, const rota_sandbox_spec_t *spec)
{
    char path[PATH_MAX], *rest = rota_pool_format (self->pool, "%s", spec->path ? spec->path : "");
    for (size_t i = 0; spec->home && i < sizeof TOOLCHAINS / sizeof *TOOLCHAINS; i++)
        if (snprintf (path, sizeof path, "%s/%s", spec->home, TOOLCHAINS[i]) < (int)sizeof path)
            show_found (self, path, spec->home);
    for (const char *directory; rest && (directory = strsep (&rest, ":"));)
        show_directory (self, directory, spec->home);
    for (size_t i = 0; i < sizeof NAMED / sizeof *NAMED; i++) {
        const char *value = getenv (NAMED[i]);
        if (value && *value == '/')
            show_found (self, value, spec->home);
    }
}

static bool find_program (const rota_sandbox_spec_t *spec, const char *name, char ret_path[PATH_MAX])
{
    if (strchr (name, '/'))
        return snprintf (ret_path, PATH_MAX, "%s", name) < PATH_MAX && access (ret_path, F_OK) == 0;
    const char *at = spec->path;
    while (at && *at) {
        size_t length = strcspn (at, ":");
        if (length && snprintf (ret_path, PATH_MAX, "%.*s/%s", (int)length, at, name) < PATH_MAX &&
            access (ret_path, X_OK) == 0)
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

void rota_sandbox_show_programs (rota_sandbox_t *self, const rota_sandbox_spec_t *spec)
{
    char path[PATH_MAX], real[PATH_MAX];
    for (const char *const *name = spec->programs; name && *name; name++) {
        if (!find_program (spec, *name, path) || *path != '/' || !realpath (path, real) || is_system (real))
            continue;
        show_found (self, path, spec->home); /* under the name that it is called by */
        if (show_node_modules (self, real, spec->home))
            continue;
        char *slash = strrchr (real, '/');
        if (slash > real) {
            *slash = '\0';
            show_beside (self, real, spec->home);
        }
    }
}

void rota_sandbox_show_more (rota_sandbox_t *self, const rota_sandbox_spec_t *spec)
{
    for (const char *const *item = spec->paths; item && *item; item++) {
        size_t length = strlen (*item);
        bool written = length > 3 && strcmp (*item + length - 3, ":rw") == 0;
        bool in_home = strncmp (*item, "~/", 2) == 0 && spec->home;
        char *path = rota_pool_format (self->pool, "%s%.*s", in_home ? spec->home : "",
                                       (int)(length - (written ? 3 : 0) - in_home), *item + in_home);
        if (path && (*path != '/' || !path[1]))
            fprintf (stderr,
                     "rota-agent: \"%s\" must be a path that begins with / or ~/ (agents.sandbox_paths)\n",
                     path);
        else if (path && access (path, F_OK) == 0)
            rota_sandbox_add_bind (self, written ? "--bind" : "--ro-bind", path);
        else if (path)
            fprintf (stderr, "rota-agent: %s isn't there (agents.sandbox_paths)\n", path);
        self->failed |= !path;
    }
}

void rota_sandbox_show_logins (rota_sandbox_t *self, const rota_sandbox_spec_t *spec)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof LOGINS / sizeof *LOGINS; i++) {
        bool run = false;
        for (const char *const *name = spec->programs; name && *name; name++)
            run |= strstr (*name, LOGINS[i].part) != NULL;
        if (run && snprintf (path, sizeof path, "%s/%s", spec->home, LOGINS[i].path) < (int)sizeof path)
            rota_sandbox_add_bind (self, "--bind", path);
    }
}
