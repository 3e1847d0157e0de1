/* The verb init: a roadmap that explains itself. */
#include "cli/json.h"
#include "cli/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char ROADMAP[] =
    "# A roadmap: tasks, and what each waits for. `rota run` works it to its end, several tasks at a time;\n"
    "# `rota run` again goes on where it stopped. `rota validate` shows every fault with its position.\n"
    "\n"
    "# What holds for every task that doesn't say otherwise.\n"
    "defaults:\n"
    "  attempts: 2           # how often a task may be tried\n"
    "  timeout: 10m          # after this an attempt is ended\n"
    "\n"
    "tasks:\n"
    "  # The smallest task: an id and a command, which runs in this file's directory.\n"
    "  - id: fetch\n"
    "    run: sleep 1; echo fetched\n"
    "\n"
    "  # These two wait for it (after: one id or a list), then run side by side.\n"
    "  - id: build\n"
    "    title: Build the program\n"
    "    run: sleep 1; echo built\n"
    "    after: fetch\n"
    "  - id: lint\n"
    "    title: Look for slips\n"
    "    run: sleep 1; echo clean\n"
    "    after: fetch\n"
    "\n"
    "  - id: test\n"
    "    title: Run the tests\n"
    "    run: |\n"
    "      echo \"this is attempt $ROTA_ATTEMPT of task $ROTA_TASK_ID\"\n"
    "      sleep 1\n"
    "    after: [build, lint]\n"
    "    priority: high        # critical, high, normal, low, or a number\n"
    "\n"
    "# Larger plans group tasks into epics and milestones. A task can wait for a whole group, too.\n"
    "epics:\n"
    "  - id: release\n"
    "    title: The release\n"
    "    tasks:\n"
    "      - id: package\n"
    "        title: Make the package\n"
    "        run: echo packed\n"
    "        after: test\n"
    "      - id: announce\n"
    "        title: Tell the world\n"
    "        run: echo \"it is out\"\n"
    "        after: package\n";

int rota_verb_init (rota_cli_t *cli)
{
    const char *path = rota_options_argument (cli->options, 0);
    bool force = rota_options_flag (cli->options, "force");
    size_t size = sizeof ROADMAP - 1;

    path = path ? path : ROTA_PLAN_DEFAULT;
    int fd = open (path, O_WRONLY | O_CREAT | O_CLOEXEC | (force ? O_TRUNC : O_EXCL), 0666);
    if (fd < 0 && errno == EEXIST)
        return rota_cli_fail (ROTA_EXIT_USAGE,
                              "%s is there already; --force replaces it, or name another file", path);
    if (fd < 0)
        return rota_cli_fail (ROTA_EXIT_USAGE, "can't write %s: %s", path, strerror (errno));
    ssize_t written = write (fd, ROADMAP, size);
    if (close (fd) != 0 || written != (ssize_t)size)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "can't write %s: %s", path, strerror (errno));
    bool usual = strcmp (path, ROTA_PLAN_DEFAULT) == 0;
    if (cli->json) {
        json_t *object = json_object ();
        rota_json_set_string (object, "written", path);
        rota_json_document (stdout, object);
    } else {
        printf ("wrote %s: read it, change it, and work it with `rota run%s%s`\n", path, usual ? "" : " ",
                usual ? "" : path);
    }
    return ROTA_EXIT_DONE;
}
