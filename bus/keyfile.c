#include "bus/keyfile.h"

#include "bus/names.h"
#include "proto/envelope.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#define Z85_BYTES 41
#define GRANTED "granted"

/* ---- keys and names */

bool rota_key_name_is_valid (const char *name)
{
    static const char SAFE[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t length = strlen (name);
    return length > 0 && length <= ROTA_KEY_NAME_MAX_BYTES && strspn (name, SAFE) == length &&
           !strchr ("._-", name[0]);
}

void rota_key_to_hex (const uint8_t key[ROTA_KEY_BYTES], char ret_text[ROTA_KEY_HEX_BYTES])
{
    static const char DIGITS[] = "0123456789abcdef";
    for (size_t i = 0; i < ROTA_KEY_BYTES; i++) {
        ret_text[2 * i] = DIGITS[key[i] >> 4];
        ret_text[2 * i + 1] = DIGITS[key[i] & 15];
    }
    ret_text[ROTA_KEY_HEX_BYTES - 1] = '\0';
}

static int digit_of (char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool rota_key_from_hex (const char *text, uint8_t ret_key[ROTA_KEY_BYTES])
{
    uint8_t key[ROTA_KEY_BYTES];
    if (strlen (text) != ROTA_KEY_HEX_BYTES - 1)
        return false;
    for (size_t i = 0; i < ROTA_KEY_BYTES; i++) {
        int high = digit_of (text[2 * i]), low = digit_of (text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        key[i] = (uint8_t)(high << 4 | low);
    }
    memcpy (ret_key, key, sizeof key);
    explicit_bzero (key, sizeof key);
    return true;
}

void rota_key_pair_new (const char *name, rota_key_pair_t *ret_pair)
{
    char public_text[Z85_BYTES], secret_text[Z85_BYTES];
    memset (ret_pair, 0, sizeof *ret_pair);
    /* It fails only where libzmq was built without CURVE, and then there is no use in going on. */
    if (zmq_curve_keypair (public_text, secret_text) < 0 ||
        !zmq_z85_decode (ret_pair->public_key, public_text) ||
        !zmq_z85_decode (ret_pair->secret_key, secret_text))
        abort ();
    snprintf (ret_pair->name, sizeof ret_pair->name, "%s", name);
    explicit_bzero (secret_text, sizeof secret_text);
}

void rota_key_pair_wipe (rota_key_pair_t *pair)
{
    explicit_bzero (pair, sizeof *pair);
}

static bool belong_together (const rota_key_pair_t *pair)
{
    char secret_text[Z85_BYTES], public_text[Z85_BYTES];
    uint8_t public_key[ROTA_KEY_BYTES];
    bool same = zmq_z85_encode (secret_text, pair->secret_key, ROTA_KEY_BYTES) &&
                zmq_curve_public (public_text, secret_text) == 0 &&
                zmq_z85_decode (public_key, public_text) &&
                memcmp (public_key, pair->public_key, sizeof public_key) == 0;
    explicit_bzero (secret_text, sizeof secret_text);
    return same;
}

/* ---- roles */

bool rota_roles_include (uint32_t roles, Rota__Role wanted)
{
    static const Rota__Role PEOPLE[] = {ROTA__ROLE__ROLE_READ, ROTA__ROLE__ROLE_SUBMIT,
                                        ROTA__ROLE__ROLE_OPERATE, ROTA__ROLE__ROLE_ADMIN};
    if (wanted <= ROTA__ROLE__ROLE_UNSPECIFIED || wanted > ROTA__ROLE__ROLE_ADMIN)
        return false;
    bool includes = roles & 1u << wanted, wanted_is_persons = false;
    for (size_t i = 0; i < sizeof PEOPLE / sizeof *PEOPLE; i++) {
        wanted_is_persons |= PEOPLE[i] == wanted;
        includes |= wanted_is_persons && roles & 1u << PEOPLE[i];
    }
    return includes;
}

const char *rota_roles_text (uint32_t roles, char ret_text[ROTA_ROLES_TEXT_BYTES])
{
    size_t used = 0;
    ret_text[0] = '\0';
    for (unsigned role = 1; role <= ROTA__ROLE__ROLE_ADMIN; role++)
        if (roles & 1u << role)
            used += (size_t)snprintf (ret_text + used, ROTA_ROLES_TEXT_BYTES - used, "%s%s", used ? " " : "",
                                      rota_role_name ((Rota__Role)role));
    return ret_text;
}

bool rota_grant_agents_are_valid (const char *text)
{
    static const char TAKEN[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.@_-:*? ";
    size_t length = strlen (text);
    return length > 0 && length <= ROTA_KEY_AGENTS_MAX_BYTES && strspn (text, TAKEN) == length &&
           text[0] != ' ' && text[length - 1] != ' ' && !strstr (text, "  ");
}

bool rota_grant_names_agent (const rota_grant_t *grant, const char *name)
{
    char patterns[sizeof grant->agents], *rest = NULL;
    const char *host = strrchr (name, '@');
    if (!grant->agents[0])
        return strcmp (name, grant->name) == 0 ||
               (host && host != name && strcmp (host + 1, grant->name) == 0);
    memcpy (patterns, grant->agents, sizeof patterns);
    for (char *word = strtok_r (patterns, " ", &rest); word; word = strtok_r (NULL, " ", &rest))
        if (fnmatch (word, name, FNM_NOESCAPE) == 0)
            return true;
    return false;
}

static int parse_roles (char *text, uint32_t *ret_roles, rota_error_t *error)
{
    uint32_t roles = 0;
    char *rest = NULL;
    for (char *word = strtok_r (text, " ", &rest); word; word = strtok_r (NULL, " ", &rest)) {
        Rota__Role role = rota_role_parse (word);
        if (role == ROTA__ROLE__ROLE_UNSPECIFIED)
            return rota_error_set (error, -EINVAL, "there is no role \"%s\"", word);
        roles |= 1u << role;
    }
    if (roles == 0)
        return rota_error_set (error, -EINVAL, "roles: names none");
    *ret_roles = roles;
    return 0;
}

/* ---- the format */

#define VALUE_MAX_BYTES 128

typedef struct {
    const char *name;
    bool needed;
    char value[VALUE_MAX_BYTES + 1];
    bool given;
} field_t;

/* One line of `length` bytes, without its end. */
static int read_line (const char *line, size_t length, field_t *fields, size_t count, rota_error_t *error)
{
    if (length == 0 || line[0] == '#')
        return 0;
    for (size_t i = 0; i < count; i++) {
        size_t name = strlen (fields[i].name);
        if (length < name + 2 || strncmp (line, fields[i].name, name) != 0 || line[name] != ':' ||
            line[name + 1] != ' ')
            continue;
        if (fields[i].given)
            return rota_error_set (error, -EINVAL, "\"%s\" is there twice", fields[i].name);
        if (length - name - 2 > VALUE_MAX_BYTES)
            return rota_error_set (error, -EINVAL, "\"%s\" is too long", fields[i].name);
        memcpy (fields[i].value, line + name + 2, length - name - 2);
        fields[i].given = true;
        return 0;
    }
    return rota_error_set (error, -EINVAL, "a line is none of \"name: value\" with a name known here");
}

static int read_fields (const char *bytes, size_t size, field_t *fields, size_t count, rota_error_t *error)
{
    int status = 0;
    if (size > ROTA_KEYFILE_MAX_BYTES)
        return rota_error_set (error, -EINVAL, "over %d bytes", ROTA_KEYFILE_MAX_BYTES);
    if (!rota_text_is_valid (bytes, size, true))
        return rota_error_set (error, -EINVAL, "not a text");
    for (size_t at = 0; at < size && status == 0;) {
        const char *end = memchr (bytes + at, '\n', size - at);
        size_t length = end ? (size_t)(end - bytes) - at : size - at;
        status = read_line (bytes + at, length, fields, count, error);
        at += length + 1;
    }
    for (size_t i = 0; i < count && status == 0; i++)
        if (fields[i].needed && !fields[i].given)
            status = rota_error_set (error, -EINVAL, "\"%s: ...\" is missing", fields[i].name);
    return status;
}

static int take_name (const char *value, char ret_name[ROTA_KEY_NAME_MAX_BYTES + 1], rota_error_t *error)
{
    if (!rota_key_name_is_valid (value))
        return rota_error_set (error, -EINVAL,
                               "name: up to %d letters, digits, '.', '_', '-', the first a letter or digit",
                               ROTA_KEY_NAME_MAX_BYTES);
    memcpy (ret_name, value, strlen (value) + 1);
    return 0;
}

/* An all-zero key would let anybody in: what is agreed on with it is no secret. */
static int take_key (const field_t *field, uint8_t ret_key[ROTA_KEY_BYTES], rota_error_t *error)
{
    static const uint8_t ZERO[ROTA_KEY_BYTES];
    if (!rota_key_from_hex (field->value, ret_key) || memcmp (ret_key, ZERO, sizeof ZERO) == 0)
        return rota_error_set (error, -EINVAL, "%s: must be a key of 64 hexadecimal digits", field->name);
    return 0;
}

int rota_key_pair_parse (const char *bytes, size_t size, rota_key_pair_t *ret_pair, rota_error_t *error)
{
    field_t fields[] = {{.name = "name", .needed = true},
                        {.name = "public", .needed = true},
                        {.name = "secret", .needed = true}};
    rota_key_pair_t pair = {.name = ""};
    int status = read_fields (bytes, size, fields, sizeof fields / sizeof *fields, error);
    if (status == 0)
        status = take_name (fields[0].value, pair.name, error);
    if (status == 0)
        status = take_key (&fields[1], pair.public_key, error);
    if (status == 0)
        status = take_key (&fields[2], pair.secret_key, error);
    if (status == 0 && !belong_together (&pair))
        status = rota_error_set (error, -EINVAL, "the public key is not that of the secret one");
    if (status == 0)
        *ret_pair = pair;
    explicit_bzero (fields, sizeof fields);
    rota_key_pair_wipe (&pair);
    return status;
}

int rota_grant_parse (const char *bytes, size_t size, rota_grant_t *ret_grant, rota_error_t *error)
{
    field_t fields[] = {{.name = "name", .needed = true},
                        {.name = "public", .needed = true},
                        {.name = "roles", .needed = true},
                        {.name = "revoked"},
                        {.name = "agents"}};
    rota_grant_t grant = {.name = ""};
    int status = read_fields (bytes, size, fields, sizeof fields / sizeof *fields, error);
    if (status == 0)
        status = take_name (fields[0].value, grant.name, error);
    if (status == 0)
        status = take_key (&fields[1], grant.public_key, error);
    if (status == 0)
        status = parse_roles (fields[2].value, &grant.roles, error);
    if (status == 0 && fields[3].given &&
        (!fields[3].value[0] || strlen (fields[3].value) > ROTA_KEY_SINCE_MAX_BYTES))
        status = rota_error_set (error, -EINVAL, "revoked: must be a time");
    if (status == 0 && fields[4].given && !rota_grant_agents_are_valid (fields[4].value))
        status = rota_error_set (
            error, -EINVAL,
            "agents: names of agents with a blank between; of letters, digits, . @ _ - : and * ? for "
            "any");
    if (status == 0) {
        snprintf (grant.revoked, sizeof grant.revoked, "%s", fields[3].value);
        snprintf (grant.agents, sizeof grant.agents, "%s", fields[4].value);
        *ret_grant = grant;
    }
    return status;
}

size_t rota_key_pair_format (const rota_key_pair_t *pair, char ret_text[ROTA_KEYFILE_MAX_BYTES])
{
    char public_text[ROTA_KEY_HEX_BYTES], secret_text[ROTA_KEY_HEX_BYTES];
    rota_key_to_hex (pair->public_key, public_text);
    rota_key_to_hex (pair->secret_key, secret_text);
    int length = snprintf (ret_text, ROTA_KEYFILE_MAX_BYTES,
                           "# Whoever has this file is %s to rota's brokers. Keep it from others.\n"
                           "name: %s\npublic: %s\nsecret: %s\n",
                           pair->name, pair->name, public_text, secret_text);
    explicit_bzero (secret_text, sizeof secret_text);
    return (size_t)length;
}

size_t rota_grant_format (const rota_grant_t *grant, char ret_text[ROTA_KEYFILE_MAX_BYTES])
{
    char public_text[ROTA_KEY_HEX_BYTES], roles[ROTA_ROLES_TEXT_BYTES];
    rota_key_to_hex (grant->public_key, public_text);
    return (size_t)snprintf (
        ret_text, ROTA_KEYFILE_MAX_BYTES, "name: %s\npublic: %s\nroles: %s\n%s%s%s%s%s%s", grant->name,
        public_text, rota_roles_text (grant->roles, roles), grant->agents[0] ? "agents: " : "", grant->agents,
        grant->agents[0] ? "\n" : "", grant->revoked[0] ? "revoked: " : "", grant->revoked,
        grant->revoked[0] ? "\n" : "");
}

/* ---- reading */

typedef enum { SECRET, PUBLIC } openness_t;

/* What is open is looked at, so that nobody can exchange it in between. */
static int check_file (int fd, const char *path, openness_t openness, rota_error_t *error)
{
    struct stat status;
    if (fstat (fd, &status) < 0)
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    if (!S_ISREG (status.st_mode))
        return rota_error_set (error, -EINVAL, "%s is no file", path);
    if (status.st_uid != geteuid () && (openness == SECRET || status.st_uid != 0))
        return rota_error_set (error, -EPERM, "%s belongs to another user: refused", path);
    if (openness == SECRET && status.st_mode & 077)
        return rota_error_set (error, -EPERM,
                               "%s is a secret key that other users can get at (mode %04o): refused. chmod "
                               "600 it, or better make a new key if somebody may have read it",
                               path, (unsigned)(status.st_mode & 07777));
    if (status.st_mode & 022)
        return rota_error_set (error, -EPERM,
                               "%s can be written by other users (mode %04o): refused. Look at what it says, "
                               "then chmod 644 it",
                               path, (unsigned)(status.st_mode & 07777));
    return 0;
}

/* At most one byte more than a file may have. */
static int read_whole (int directory_fd, const char *name, const char *path, openness_t openness,
                       char ret_bytes[ROTA_KEYFILE_MAX_BYTES + 1], size_t *ret_size, rota_error_t *error)
{
    size_t size = 0;
    ssize_t got = 0;
    /* Without waiting for whoever may be at the other end of a fifo. */
    int fd = openat (directory_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    int status = check_file (fd, path, openness, error);
    while (status == 0 && size <= ROTA_KEYFILE_MAX_BYTES &&
           (got = read (fd, ret_bytes + size, ROTA_KEYFILE_MAX_BYTES + 1 - size)) > 0)
        size += (size_t)got;
    if (status == 0 && got < 0)
        status = rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    close (fd);
    *ret_size = size;
    return status;
}

int rota_key_pair_read (const char *path, rota_key_pair_t *ret_pair, rota_error_t *error)
{
    char bytes[ROTA_KEYFILE_MAX_BYTES + 1];
    size_t size = 0;
    int status = read_whole (AT_FDCWD, path, path, SECRET, bytes, &size, error);
    if (status < 0)
        return status;
    status = rota_key_pair_parse (bytes, size, ret_pair, error);
    explicit_bzero (bytes, sizeof bytes);
    return status < 0 ? rota_error_prefix (error, status, "%s", path) : 0;
}

int rota_grant_read (int directory_fd, const char *name, rota_grant_t *ret_grant, rota_error_t *error)
{
    char bytes[ROTA_KEYFILE_MAX_BYTES + 1];
    size_t size = 0;
    rota_grant_t grant;
    int status = read_whole (directory_fd, name, name, PUBLIC, bytes, &size, error);
    if (status < 0)
        return status;
    status = rota_grant_parse (bytes, size, &grant, error);
    if (status == 0 && strcmp (grant.name, name) != 0)
        status = rota_error_set (error, -EINVAL, "it is the grant of %s", grant.name);
    if (status < 0)
        return rota_error_prefix (error, status, "%s", name);
    *ret_grant = grant;
    return 0;
}

/* ---- writing */

static int write_all (int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write (fd, bytes, size);
        if (written < 0 && errno != EINTR)
            return -errno;
        bytes += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    return fsync (fd) < 0 ? -errno : 0;
}

static int sync_directory_of (const char *path)
{
    char directory[PATH_MAX];
    const char *slash = strrchr (path, '/');
    snprintf (directory, sizeof directory, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    int fd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int status = fsync (fd) < 0 ? -errno : 0;
    close (fd);
    return status;
}

/* Whole under its name or not at all; the name of the file that becomes it is no valid one for a key. */
static int write_file (const char *path, const char *bytes, size_t size, mode_t mode, bool replace,
                       rota_error_t *error)
{
    char half[PATH_MAX];
    const char *slash = strrchr (path, '/');
    int directory = slash ? (int)(slash - path) + 1 : 0;
    if (snprintf (half, sizeof half, "%.*s.%s.%d", directory, path, path + directory, (int)getpid ()) >=
        (int)sizeof half)
        return rota_error_set (error, -ENAMETOOLONG, "%s: %s", path, strerror (ENAMETOOLONG));
    unlink (half);
    int status = 0, fd = open (half, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return rota_error_set (error, -errno, "%s: %s", half, strerror (errno));
    if (fchmod (fd, mode) < 0)
        status = -errno;
    if (status == 0)
        status = write_all (fd, bytes, size);
    close (fd);
    if (status == 0 && renameat2 (AT_FDCWD, half, AT_FDCWD, path, replace ? 0 : RENAME_NOREPLACE) < 0)
        status = -errno;
    if (status == 0)
        return sync_directory_of (path);
    unlink (half);
    return rota_error_set (error, status, "%s: %s", path,
                           status == -EEXIST ? "is there already" : strerror (-status));
}

int rota_key_pair_write (const char *path, const rota_key_pair_t *pair, bool replace, rota_error_t *error)
{
    char text[ROTA_KEYFILE_MAX_BYTES];
    size_t size = rota_key_pair_format (pair, text);
    int status = write_file (path, text, size, 0600, replace, error);
    explicit_bzero (text, sizeof text);
    return status;
}

int rota_grant_write (const char *directory, const rota_grant_t *grant, bool replace, rota_error_t *error)
{
    char text[ROTA_KEYFILE_MAX_BYTES], path[PATH_MAX];
    size_t size = rota_grant_format (grant, text);
    if (snprintf (path, sizeof path, "%s/" GRANTED "/%s", directory, grant->name) >= (int)sizeof path)
        return rota_error_set (error, -ENAMETOOLONG, "%s: %s", directory, strerror (ENAMETOOLONG));
    return write_file (path, text, size, 0644, replace, error);
}

/* ---- directories */

/* Whoever may write in it may grant whatever he likes. */
static int check_directory (int fd, const char *path, rota_error_t *error)
{
    struct stat status;
    if (fstat (fd, &status) < 0)
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    if (status.st_uid != geteuid () && status.st_uid != 0)
        return rota_error_set (error, -EPERM, "%s belongs to another user: refused", path);
    if (status.st_mode & 022)
        return rota_error_set (error, -EPERM,
                               "%s can be written by other users (mode %04o): refused. Look at what is in "
                               "it, then chmod 700 it",
                               path, (unsigned)(status.st_mode & 07777));
    return 0;
}

static int look_at_directory (const char *path, bool create, rota_error_t *error)
{
    if (create && mkdir (path, 0700) < 0 && errno != EEXIST)
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    int fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    int status = check_directory (fd, path, error);
    close (fd);
    return status;
}

int rota_keys_directory (const char *setting, const char *state_dir, bool create, char *ret_path,
                         size_t capacity, rota_error_t *error)
{
    char path[PATH_MAX], granted[PATH_MAX + sizeof "/" GRANTED];
    int length = setting[0] ? snprintf (path, sizeof path, "%s", setting)
                            : snprintf (path, sizeof path, "%s/keys", state_dir);
    if (length < 0 || (size_t)length >= sizeof path || (size_t)length >= capacity)
        return rota_error_set (error, -ENAMETOOLONG, "the directory of keys: %s", strerror (ENAMETOOLONG));
    snprintf (granted, sizeof granted, "%s/" GRANTED, path);
    int status = look_at_directory (path, create, error);
    if (status == 0 && create)
        status = look_at_directory (granted, true, error);
    if (status == 0)
        memcpy (ret_path, path, (size_t)length + 1);
    return status;
}

/* An error of the process, not of the one file: no descriptor or memory left. */
static bool is_ours (int status)
{
    return status == -EMFILE || status == -ENFILE || status == -ENOMEM;
}

int rota_grants_read (const char *directory, rota_grant_fn take, void *owner, rota_error_t *error)
{
    char path[PATH_MAX];
    snprintf (path, sizeof path, "%s/" GRANTED, directory);
    DIR *list = opendir (path);
    if (!list)
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    int result = check_directory (dirfd (list), path, error);
    for (struct dirent *entry; result == 0 && (entry = readdir (list));) {
        rota_grant_t grant;
        rota_error_t fault = {""};
        if (entry->d_name[0] == '.') /* also a file that is being written */
            continue;
        int status = rota_key_name_is_valid (entry->d_name)
                         ? rota_grant_read (dirfd (list), entry->d_name, &grant, &fault)
                         : rota_error_set (&fault, -EINVAL, "the name of the file is not that of a key");
        if (status == -ENOENT) /* revoked by removing it */
            continue;
        if (is_ours (status))
            result = rota_error_set (error, status, "%s/%s", path, fault.text);
        else
            result = take (owner, entry->d_name, status == 0 ? &grant : NULL, &fault);
    }
    closedir (list);
    return result;
}
