/* The verbs store backup, store restore and store check. */
#include "bus/clock.h"
#include "cli/json.h"
#include "cli/link.h"
#include "cli/supervisor.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The scheduler has another current directory than whoever types the command. */
static char *absolute (const char *path)
{
    char directory[PATH_MAX], *whole = NULL;
    if (path[0] == '/')
        return strdup (path);
    if (!getcwd (directory, sizeof directory) || asprintf (&whole, "%s/%s", directory, path) < 0)
        return NULL;
    return whole;
}

int rota_verb_backup (rota_cli_t *cli)
{
    Rota__BackupRequest request = ROTA__BACKUP_REQUEST__INIT;
    Rota__BackupReply *reply = NULL;
    char *path = absolute (rota_options_argument (cli->options, 0)), size[24];
    rota_link_t link;

    if (!path)
        return rota_cli_fail (ROTA_EXIT_USAGE, "the current directory can't be found");
    int code = rota_link_open_any (cli, &link);
    if (code == ROTA_EXIT_DONE) {
        request.has_path = true;
        request.path = rota_bytes (path);
        code = rota_link_call (&link, ROTA_MESSAGE_BACKUP, &request.base, ROTA_CALL_LONG_MS,
                               ROTA_MESSAGE_BACKUP_REPLY, &reply);
        if (code == ROTA_EXIT_DONE && cli->json) {
            json_t *object = json_object ();
            rota_json_set_string (object, "path", path);
            rota_json_set_number (object, "size_bytes", reply->size_bytes);
            rota_json_set_number (object, "last_event", reply->last_event);
            rota_json_document (stdout, object);
        } else if (code == ROTA_EXIT_DONE) {
            printf ("backed up to %s (%s, up to event %llu)\n", path, rota_size (reply->size_bytes, size),
                    (unsigned long long)reply->last_event);
        }
        rota_link_close (&link);
    }
    free (path);
    return code;
}

/* A second name for the store and its log, so that what is replaced is still there. */
static int keep_old (const char *state, char **ret_kept)
{
    static const char *const PARTS[] = {"", "-wal"};
    char *kept = NULL;
    int status = 0;

    if (asprintf (&kept, "%s/rota.db.before-%lld", state, (long long)rota_clock_wall_ms ()) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < 2 && status == 0; i++) {
        char *from = NULL, *to = NULL;
        if (asprintf (&from, "%s/rota.db%s", state, PARTS[i]) < 0)
            from = NULL;
        if (asprintf (&to, "%s%s", kept, PARTS[i]) < 0)
            to = NULL;
        if (!from || !to)
            status = -ENOMEM;
        else if (link (from, to) != 0 && errno != ENOENT)
            status = -errno;
        free (from);
        free (to);
    }
    if (status < 0 || access (kept, F_OK) != 0) {
        free (kept);
        kept = NULL;
    }
    *ret_kept = kept;
    return status;
}

/* The scheduler's program alone opens the store; it says itself what went wrong. */
static int run_restore (const char *state, const char *file)
{
    char *program = rota_program_path ("rota-scheduler");
    const char *arguments[] = {"rota-scheduler", "--state", state, "--restore", file, NULL};
    pid_t pid = 0;
    int how = 0, status = program ? posix_spawn (&pid, program, NULL, NULL, (char *const *)arguments, environ)
                                  : ENOMEM;

    if (status != 0)
        rota_cli_note ("can't start %s: %s", program ? program : "rota-scheduler", strerror (status));
    free (program);
    if (status != 0)
        return ROTA_EXIT_UNREACHABLE;
    while (waitpid (pid, &how, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED (how) && WEXITSTATUS (how) == 0 ? ROTA_EXIT_DONE : ROTA_EXIT_USAGE;
}

static int restore (const rota_cli_t *cli, const char *state, const char *file)
{
    rota_error_t error = {""};
    char *kept = NULL, shown[512];
    int lock_fd = -1, status = rota_state_lock (state, ROTA_SERVICES_HOLD, &lock_fd, &error);

    if (status == -EBUSY)
        return rota_cli_fail (ROTA_EXIT_REFUSED, "the services of %s run; `rota down` first",
                              rota_state_shown (state, shown, sizeof shown));
    if (status == 0)
        status = keep_old (state, &kept);
    if (status < 0 && !*error.text)
        rota_error_set (&error, status, "can't keep the store that is there: %s", strerror (-status));
    int code = status < 0 ? rota_cli_fail (ROTA_EXIT_REFUSED, "%s", error.text) : run_restore (state, file);
    if (code == ROTA_EXIT_DONE && cli->json) {
        json_t *object = json_object ();
        rota_json_set_string (object, "restored", file);
        rota_json_set_string (object, "kept", kept);
        rota_json_document (stdout, object);
    } else if (code == ROTA_EXIT_DONE) {
        printf ("restored from %s\n", file);
        if (kept)
            printf ("what was there is kept as %s\n", rota_state_shown (kept, shown, sizeof shown));
    } else if (kept) { /* nothing was replaced: the second name is of no use */
        unlink (kept);
        char *log = NULL;
        if (asprintf (&log, "%s-wal", kept) >= 0)
            unlink (log);
        free (log);
    }
    free (kept);
    if (lock_fd >= 0)
        close (lock_fd);
    return code;
}

int rota_verb_restore (rota_cli_t *cli)
{
    char *state = NULL, *file = realpath (rota_options_argument (cli->options, 0), NULL);

    if (!file)
        return rota_cli_fail (ROTA_EXIT_USAGE, "%s: %s", rota_options_argument (cli->options, 0),
                              strerror (errno));
    if (rota_options_text (cli->options, "broker", NULL)) {
        free (file);
        return rota_cli_fail (ROTA_EXIT_USAGE,
                              "restore works on a state directory of this host; it takes no --broker");
    }
    int code = rota_link_state (cli, true, &state);
    if (code == ROTA_EXIT_DONE)
        code = restore (cli, state, file);
    free (state);
    free (file);
    return code;
}

int rota_verb_check (rota_cli_t *cli)
{
    Rota__CheckRequest request = ROTA__CHECK_REQUEST__INIT;
    Rota__CheckReply *reply = NULL;
    char tasks[48], attempts[48], events[48];
    rota_link_t link;

    int code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    code = rota_link_call (&link, ROTA_MESSAGE_CHECK, &request.base, ROTA_CALL_LONG_MS,
                           ROTA_MESSAGE_CHECK_REPLY, &reply);
    if (code == ROTA_EXIT_DONE) {
        bool good = reply->n_faults == 0;
        json_t *object = cli->json ? json_object () : NULL, *faults = json_array ();
        for (size_t i = 0; i < reply->n_faults; i++) {
            const Rota__Fault *fault = reply->faults[i];
            char *text = rota_clean_bytes (fault->has_text, fault->text);
            if (cli->json)
                json_array_append_new (faults, json_string (text ? text : ""));
            else
                printf ("fault: %s\n", text ? text : "");
            free (text);
        }
        if (cli->json) {
            json_object_set_new (object, "sound", json_boolean (good));
            rota_json_set_number (object, "tasks", reply->tasks);
            rota_json_set_number (object, "attempts", reply->attempts);
            rota_json_set_number (object, "events", reply->events);
            json_object_set (object, "faults", faults);
            rota_json_document (stdout, object);
        } else {
            printf ("%s%s%s: %s, %s, %s\n", rota_style (&cli->out, good ? ROTA_STYLE_GREEN : ROTA_STYLE_RED),
                    good ? "sound" : "not sound", rota_style_end (&cli->out),
                    rota_plural (reply->tasks, "task", tasks),
                    rota_plural (reply->attempts, "attempt", attempts),
                    rota_plural (reply->events, "event", events));
        }
        json_decref (faults);
        code = good ? ROTA_EXIT_DONE : ROTA_EXIT_UNFINISHED;
    }
    rota_link_close (&link);
    return code;
}
