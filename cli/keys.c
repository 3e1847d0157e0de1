/* The verbs key new, key grant, key revoke and key list: files in the directory of keys, which brokers watch;
 * no service is asked. */
#include "bus/clock.h"
#include "bus/keyfile.h"
#include "bus/settings.h"
#include "cli/json.h"
#include "cli/link.h"
#include "cli/render.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where it is; with `make`, it is there afterwards. ROTA_EXIT_DONE, or another code after a message. */
static int find_directory (const rota_cli_t *cli, bool make, char ret_path[PATH_MAX])
{
    rota_settings_t *settings = NULL;
    rota_error_t error = {""};
    char *state = NULL;
    int status, code = ROTA_EXIT_DONE;

    if (rota_settings_load (rota_options_text (cli->options, "config", NULL), stderr, &settings, &error) < 0)
        return rota_cli_fail (ROTA_EXIT_USAGE, "%s", error.text);
    const char *setting = rota_setting_text (settings, ROTA_SETTING_SECURITY_KEYS_DIR);
    if (!setting[0])
        code = rota_link_state (cli, make, &state);
    if (code == ROTA_EXIT_DONE) {
        status = rota_keys_directory (setting, state, make, ret_path, PATH_MAX, &error);
        if (status < 0)
            code = rota_cli_fail (status == -EPERM ? ROTA_EXIT_REFUSED : ROTA_EXIT_USAGE, "%s", error.text);
    }
    rota_settings_destroy (&settings);
    free (state);
    return code;
}

static int exit_code (int status)
{
    return status == -EPERM || status == -EACCES || status == -EEXIST ? ROTA_EXIT_REFUSED : ROTA_EXIT_USAGE;
}

static int key_path (const char *directory, const char *name, char ret_path[PATH_MAX])
{
    if (snprintf (ret_path, PATH_MAX, "%s/%s.key", directory, name) >= PATH_MAX)
        return rota_cli_fail (ROTA_EXIT_USAGE, "%s: %s", directory, strerror (ENAMETOOLONG));
    return ROTA_EXIT_DONE;
}

/* ---- key new */

static void put_new (const rota_cli_t *cli, const rota_key_pair_t *pair, const char *path)
{
    char key[ROTA_KEY_HEX_BYTES];
    rota_key_to_hex (pair->public_key, key);
    if (cli->json) {
        json_t *object = json_object ();
        rota_json_set_string (object, "name", pair->name);
        rota_json_set_string (object, "public", key);
        rota_json_set_string (object, "file", path);
        rota_json_document (stdout, object);
        return;
    }
    printf ("secret key: %s\npublic key: %s\n", path, key);
    if (strcmp (pair->name, "broker") == 0)
        printf ("peers know the broker by it: broker.public_key in their settings\n");
    else
        printf ("on the broker's host: rota key grant %s ROLE... --name %s\n", key, pair->name);
}

int rota_verb_key_new (rota_cli_t *cli)
{
    const char *name = rota_options_argument (cli->options, 0);
    const char *out = rota_options_text (cli->options, "out", NULL);
    char directory[PATH_MAX], path[PATH_MAX];
    rota_error_t error = {""};
    rota_key_pair_t pair;
    int code = ROTA_EXIT_DONE;

    if (!rota_key_name_is_valid (name))
        return rota_cli_fail (ROTA_EXIT_USAGE,
                              "a key's name is up to %d letters, digits, '.', '_' and '-', and begins with a "
                              "letter or digit",
                              ROTA_KEY_NAME_MAX_BYTES);
    if (out)
        snprintf (path, sizeof path, "%s", out);
    else
        code = find_directory (cli, true, directory);
    if (code == ROTA_EXIT_DONE && !out)
        code = key_path (directory, name, path);
    if (code != ROTA_EXIT_DONE)
        return code;
    rota_key_pair_new (name, &pair);
    int status = rota_key_pair_write (path, &pair, rota_options_flag (cli->options, "force"), &error);
    if (status < 0)
        code = rota_cli_fail (exit_code (status), "%s%s", error.text,
                              status == -EEXIST ? "; --force replaces it, and it can't be had back" : "");
    else
        put_new (cli, &pair, path);
    rota_key_pair_wipe (&pair);
    return code;
}

/* ---- key grant, key revoke */

static int read_grant (const char *directory, const char *name, rota_grant_t *ret_grant, rota_error_t *error)
{
    char granted[PATH_MAX];
    snprintf (granted, sizeof granted, "%s/granted", directory);
    int fd = open (granted, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return rota_error_set (error, -errno, "%s: %s", granted, strerror (errno));
    int status = rota_grant_read (fd, name, ret_grant, error);
    close (fd);
    return status;
}

typedef struct {
    const uint8_t *key;
    char name[ROTA_KEY_NAME_MAX_BYTES + 1];
} search_t;

static int match (void *owner, const char *name, const rota_grant_t *grant, const rota_error_t *error)
{
    (void)name;
    (void)error;
    search_t *search = owner;
    if (grant && memcmp (grant->public_key, search->key, ROTA_KEY_BYTES) == 0)
        memcpy (search->name, grant->name, sizeof search->name);
    return 0;
}

/* The grant that there is for NAME or PUBLICKEY; without one, its name and key as far as they are known. 0;
 * -ENOENT: there is none; another negative errno. */
static int look_up (const char *directory, const char *who, const char *as, rota_grant_t *ret_grant,
                    rota_error_t *error)
{
    rota_grant_t grant = {.name = ""};
    search_t search = {.key = grant.public_key};
    bool by_key = rota_key_from_hex (who, grant.public_key);
    int status = by_key ? rota_grants_read (directory, match, &search, error) : 0;
    if (status < 0)
        return status;
    const char *name = !by_key ? who : search.name[0] ? search.name : as;
    if (name)
        snprintf (grant.name, sizeof grant.name, "%s", name);
    else
        snprintf (grant.name, sizeof grant.name, "%.12s", who);
    if (!rota_key_name_is_valid (name ? name : grant.name))
        return rota_error_set (error, -EINVAL, "\"%s\" is neither a name nor a public key of 64 digits", who);
    *ret_grant = grant;
    rota_grant_t there;
    status = read_grant (directory, grant.name, &there, error);
    if (status == 0 && by_key && memcmp (there.public_key, grant.public_key, ROTA_KEY_BYTES) != 0)
        return rota_error_set (error, -EEXIST,
                               "%s is the name of another key already; --name gives this one its own, `rota "
                               "key revoke %s` ends the other's",
                               grant.name, grant.name);
    if (status == 0)
        *ret_grant = there;
    return status;
}

static int take_roles (const rota_cli_t *cli, uint32_t *ret_roles)
{
    uint32_t roles = 0;
    for (size_t i = 1; i < rota_options_argument_count (cli->options); i++) {
        const char *word = rota_options_argument (cli->options, i);
        Rota__Role role = rota_role_parse (word);
        if (role == ROTA__ROLE__ROLE_UNSPECIFIED)
            return rota_cli_fail (ROTA_EXIT_USAGE,
                                  "there is no role \"%s\"; there are read, submit, operate, admin (people), "
                                  "agent, scheduler, sink, broker (services)",
                                  word);
        roles |= 1u << role;
    }
    *ret_roles = roles;
    return ROTA_EXIT_DONE;
}

/* --agents A,B as the file has it: with blanks. */
static int take_agents (const rota_cli_t *cli, char ret_agents[ROTA_KEY_AGENTS_MAX_BYTES + 1])
{
    const char *text = rota_options_text (cli->options, "agents", NULL);
    ret_agents[0] = '\0';
    if (!text)
        return ROTA_EXIT_DONE;
    snprintf (ret_agents, ROTA_KEY_AGENTS_MAX_BYTES + 1, "%s", text);
    for (char *c = ret_agents; *c; c++)
        *c = *c == ',' ? ' ' : *c;
    if (strlen (text) > ROTA_KEY_AGENTS_MAX_BYTES || !rota_grant_agents_are_valid (ret_agents))
        return rota_cli_fail (
            ROTA_EXIT_USAGE,
            "--agents takes names of agents with commas between, %d bytes at most; of letters, digits, "
            ". @ _ - : and * ? for any",
            ROTA_KEY_AGENTS_MAX_BYTES);
    return ROTA_EXIT_DONE;
}

/* The public part of a key that was made here. */
static int take_local_key (const char *directory, rota_grant_t *grant, rota_error_t *error)
{
    char path[PATH_MAX];
    rota_key_pair_t pair;
    if (key_path (directory, grant->name, path) != ROTA_EXIT_DONE)
        return -ENAMETOOLONG;
    int status = rota_key_pair_read (path, &pair, error);
    if (status == -ENOENT)
        return rota_error_set (error, status,
                               "there is no key of the name %s here; make one with `rota key new`, or say "
                               "the public key in place of the name",
                               grant->name);
    if (status == 0)
        memcpy (grant->public_key, pair.public_key, sizeof grant->public_key);
    rota_key_pair_wipe (&pair);
    return status;
}

static void put_grant (const rota_cli_t *cli, const rota_grant_t *grant)
{
    char key[ROTA_KEY_HEX_BYTES], roles[ROTA_ROLES_TEXT_BYTES];
    rota_key_to_hex (grant->public_key, key);
    rota_roles_text (grant->roles, roles);
    if (cli->json) {
        json_t *object = json_object ();
        rota_json_set_string (object, "name", grant->name);
        rota_json_set_string (object, "public", key);
        rota_json_set_string (object, "roles", roles);
        rota_json_set_string (object, "agents", grant->agents[0] ? grant->agents : NULL);
        rota_json_set_string (object, "revoked", grant->revoked[0] ? grant->revoked : NULL);
        rota_json_document (stdout, object);
    } else if (grant->revoked[0])
        printf ("%s (%.16s...) may nothing any more\n", grant->name, key);
    else
        printf ("%s (%.16s...) may be: %s%s%s\n", grant->name, key, roles,
                grant->agents[0] ? "; agents: " : "", grant->agents);
}

static int write_grant (const rota_cli_t *cli, const char *directory, const rota_grant_t *grant)
{
    rota_error_t error = {""};
    int status = rota_grant_write (directory, grant, true, &error);
    if (status < 0)
        return rota_cli_fail (exit_code (status), "%s", error.text);
    put_grant (cli, grant);
    return ROTA_EXIT_DONE;
}

/* What is granted is this broker's alone. */
static void remind_of_others (const rota_cli_t *cli)
{
    rota_settings_t *settings = NULL;
    rota_error_t error = {""};
    if (rota_settings_load (rota_options_text (cli->options, "config", NULL), stderr, &settings, &error) < 0)
        return;
    if (strcmp (rota_setting_text (settings, ROTA_SETTING_ELECTION_BACKEND), "etcd") == 0)
        rota_cli_note (
            "this holds for the broker of this host; do the same on the other brokers' hosts, any of "
            "which may lead");
    rota_settings_destroy (&settings);
}

int rota_verb_key_grant (rota_cli_t *cli)
{
    const char *who = rota_options_argument (cli->options, 0);
    const char *as = rota_options_text (cli->options, "name", NULL);
    char directory[PATH_MAX];
    uint8_t key[ROTA_KEY_BYTES];
    rota_error_t error = {""};
    rota_grant_t grant = {.name = ""};
    uint32_t roles = 0;
    char agents[ROTA_KEY_AGENTS_MAX_BYTES + 1];

    int code = take_roles (cli, &roles);
    if (code == ROTA_EXIT_DONE)
        code = take_agents (cli, agents);
    if (code == ROTA_EXIT_DONE)
        code = find_directory (cli, true, directory);
    if (code != ROTA_EXIT_DONE)
        return code;
    int status = look_up (directory, who, as, &grant, &error);
    if (status == -ENOENT)
        status = rota_key_from_hex (who, key) ? 0 : take_local_key (directory, &grant, &error);
    if (status < 0)
        return rota_cli_fail (exit_code (status), "%s", error.text);
    grant.roles = roles;
    memcpy (grant.agents, agents, sizeof agents);
    grant.revoked[0] = '\0';
    code = write_grant (cli, directory, &grant);
    if (code == ROTA_EXIT_DONE)
        remind_of_others (cli);
    return code;
}

int rota_verb_key_revoke (rota_cli_t *cli)
{
    char directory[PATH_MAX];
    rota_error_t error = {""};
    rota_grant_t grant = {.name = ""};
    int code = find_directory (cli, false, directory);
    if (code != ROTA_EXIT_DONE)
        return code;
    for (size_t i = 0; i < rota_options_argument_count (cli->options) && code == ROTA_EXIT_DONE; i++) {
        const char *who = rota_options_argument (cli->options, i);
        int status = look_up (directory, who, NULL, &grant, &error);
        if (status == -ENOENT)
            code = rota_cli_fail (ROTA_EXIT_USAGE, "nothing is granted to %s", who);
        else if (status < 0)
            code = rota_cli_fail (exit_code (status), "%s", error.text);
        else {
            if (!grant.revoked[0])
                rota_clock_iso (rota_clock_wall_ms (), grant.revoked);
            code = write_grant (cli, directory, &grant);
        }
    }
    if (code == ROTA_EXIT_DONE)
        remind_of_others (cli);
    return code;
}

/* ---- key list */

typedef struct {
    rota_table_t *table;
    json_t *list;
    bool faults;
} listing_t;

static int put_row (void *owner, const char *name, const rota_grant_t *grant, const rota_error_t *error)
{
    listing_t *self = owner;
    char key[ROTA_KEY_HEX_BYTES], roles[ROTA_ROLES_TEXT_BYTES];

    if (!grant) {
        self->faults = true;
        rota_cli_note ("granted/%s grants nothing: %s", name, error->text);
        return 0;
    }
    rota_key_to_hex (grant->public_key, key);
    rota_roles_text (grant->roles, roles);
    if (self->list) {
        json_t *object = json_object ();
        rota_json_set_string (object, "name", grant->name);
        rota_json_set_string (object, "public", key);
        rota_json_set_string (object, "roles", roles);
        rota_json_set_string (object, "agents", grant->agents[0] ? grant->agents : NULL);
        rota_json_set_string (object, "revoked", grant->revoked[0] ? grant->revoked : NULL);
        json_array_append_new (self->list, object);
        return 0;
    }
    rota_style_t style = grant->revoked[0] ? ROTA_STYLE_DIM : ROTA_STYLE_PLAIN;
    rota_table_add (self->table, grant->revoked[0] ? ROTA_STYLE_DIM : ROTA_STYLE_BOLD, grant->name,
                    strlen (grant->name));
    rota_table_addf (self->table, style, "%s%s%s%s", roles, grant->agents[0] ? " (" : "", grant->agents,
                     grant->agents[0] ? ")" : "");
    rota_table_addf (self->table, style, "%s", grant->revoked[0] ? grant->revoked : "");
    rota_table_addf (self->table, style, "%s", key);
    return 0;
}

/* "" where there is none yet. */
static int read_broker_key (const char *directory, char ret_key[ROTA_KEY_HEX_BYTES])
{
    char path[PATH_MAX];
    rota_error_t error = {""};
    rota_key_pair_t pair;
    ret_key[0] = '\0';
    int code = key_path (directory, "broker", path);
    if (code != ROTA_EXIT_DONE)
        return code;
    int status = rota_key_pair_read (path, &pair, &error);
    if (status == 0)
        rota_key_to_hex (pair.public_key, ret_key);
    else if (status != -ENOENT)
        code = rota_cli_fail (exit_code (status), "%s", error.text);
    rota_key_pair_wipe (&pair);
    return code;
}

int rota_verb_key_list (rota_cli_t *cli)
{
    static const rota_column_t COLUMNS[] = {
        {.title = "NAME"}, {.title = "ROLES"}, {.title = "REVOKED"}, {.title = "PUBLIC KEY"}};
    char directory[PATH_MAX], broker[ROTA_KEY_HEX_BYTES];
    rota_error_t error = {""};
    int code = find_directory (cli, true, directory);
    if (code == ROTA_EXIT_DONE)
        code = read_broker_key (directory, broker);
    if (code != ROTA_EXIT_DONE)
        return code;
    listing_t self = {.list = cli->json ? json_array () : NULL,
                      .table = rota_table_new (COLUMNS, sizeof COLUMNS / sizeof *COLUMNS)};
    int status = self.table ? rota_grants_read (directory, put_row, &self, &error)
                            : rota_error_set (&error, -ENOMEM, "no memory");
    if (status < 0)
        code = rota_cli_fail (exit_code (status), "%s", error.text);
    else if (cli->json) {
        json_t *object = json_object ();
        rota_json_set_string (object, "broker", broker[0] ? broker : NULL);
        json_object_set (object, "keys", self.list);
        rota_json_document (stdout, object);
    } else {
        printf ("broker.public_key: %s\n\n", broker[0] ? broker : "the broker has no key yet");
        rota_table_flush (self.table, &cli->out);
    }
    json_decref (self.list);
    rota_table_destroy (&self.table);
    return code == ROTA_EXIT_DONE && self.faults ? ROTA_EXIT_REFUSED : code;
}
