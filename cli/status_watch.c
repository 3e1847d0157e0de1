/* `rota status --watch`: the scheduler is asked for the next snapshot and answers when there is one, so that
 * nothing is computed, here or there, while nothing changes. */
#include "bus/clock.h"
#include "cli/json.h"
#include "cli/status.h"
#include "cli/watch.h"

#include <errno.h>

#define WAIT_MS 10000
#define SILENCE_MS 60000 /* services that are started again need much less */
#define AGAIN_MS 500
#define CLEAR "\033[H\033[2J\033[3J"

static void show (const rota_cli_t *cli, const Rota__StatusReply *status, const rota_link_t *link, bool first)
{
    if (cli->json) {
        rota_json_line (stdout, rota_status_json (status, link));
        return;
    }
    fputs (cli->out.live ? CLEAR : first ? "" : "\n", stdout);
    rota_status_put (cli, status, link);
    fflush (stdout);
}

int rota_status_watch (rota_cli_t *cli, rota_link_t *link, const char *source)
{
    uint64_t version = 0;
    int64_t heard_ms = rota_clock_monotonic_ms ();
    rota_watch_signals ();
    while (!rota_watch_interrupts) {
        Rota__SnapshotQuery query = ROTA__SNAPSHOT_QUERY__INIT;
        ProtobufCMessage *reply = NULL;
        rota_error_t error = {""};
        query.has_version = version > 0;
        query.version = version;
        query.has_wait_ms = true;
        query.wait_ms = WAIT_MS;
        query.has_source = source != NULL;
        query.source = rota_bytes (source ? source : "");
        int status = rota_client_call (link->client, ROTA_MESSAGE_SNAPSHOT_QUERY, &query.base,
                                       WAIT_MS + ROTA_CALL_MS, ROTA_MESSAGE_STATUS_REPLY, &reply, &error);
        if (status == -EINTR)
            continue;
        bool silent = status == -EHOSTUNREACH || status == -ETIMEDOUT;
        if (silent && !rota_link_gone (link) && rota_clock_monotonic_ms () - heard_ms < SILENCE_MS) {
            rota_client_run (link->client, AGAIN_MS);
            continue;
        }
        if (status < 0)
            return rota_link_refusal (link, status, &error);
        const Rota__StatusReply *answer = (const Rota__StatusReply *)reply;
        heard_ms = rota_clock_monotonic_ms ();
        if (!answer->unchanged)
            show (cli, answer, link, version == 0);
        version = answer->version;
    }
    return ROTA_EXIT_INTERRUPTED;
}
