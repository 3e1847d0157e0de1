/* The verb leader: who routes, and who is connected. */
#include "bus/clock.h"
#include "cli/json.h"
#include "cli/link.h"

#include <stdlib.h>
#include <string.h>

static void put_table (const rota_cli_t *cli, const Rota__PeersReply *reply)
{
    static const rota_column_t COLUMNS[] = {{.title = "PEER", .flexible = true},
                                            {.title = "ROLE"},
                                            {.title = "HOST"},
                                            {.title = "PID", .right = true},
                                            {.title = "VERSION"},
                                            {.title = "KEY"},
                                            {.title = "SINCE"}};
    rota_table_t *table = rota_table_new (COLUMNS, sizeof COLUMNS / sizeof COLUMNS[0]);
    int64_t now_ms = rota_clock_wall_ms ();
    char when[24];

    for (size_t i = 0; table && i < reply->n_peers; i++) {
        const Rota__Peer *peer = reply->peers[i];
        rota_table_add (table, ROTA_STYLE_BOLD, peer->name.data, peer->name.len);
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", rota_role_name (peer->role));
        rota_table_add (table, ROTA_STYLE_PLAIN, peer->host.data, peer->host.len);
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%u", peer->pid);
        rota_table_add (table, ROTA_STYLE_PLAIN, peer->program_version.data, peer->program_version.len);
        rota_table_add (table, ROTA_STYLE_PLAIN, peer->key.data, peer->key.len);
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", rota_when (peer->since_ms, now_ms, when));
    }
    if (table)
        rota_table_flush (table, &cli->out);
    rota_table_destroy (&table);
}

static void put (const rota_cli_t *cli, const Rota__PeersReply *reply, const char *endpoint)
{
    char *version = rota_clean_bytes (reply->has_program_version, reply->program_version), when[24];
    char *host = rota_clean_bytes (reply->has_host, reply->host);
    char *election = rota_clean_bytes (reply->has_election, reply->election);

    printf ("leader: the broker at %s (pid %u on %s, version %s), epoch %llu, since %s, elected by %s\n",
            endpoint, reply->pid, host ? host : "?", version ? version : "?",
            (unsigned long long)reply->leader_epoch,
            rota_when (reply->has_leader_since_ms ? reply->leader_since_ms : reply->started_ms,
                       rota_clock_wall_ms (), when),
            election && strcmp (election, "etcd") == 0 ? "etcd" : "the lock of its state directory");
    if (reply->has_leader_cluster)
        printf ("epochs count in etcd's cluster %llx\n", (unsigned long long)reply->leader_cluster);
    printf ("%llu messages routed, %llu refused", (unsigned long long)reply->messages_routed,
            (unsigned long long)reply->messages_refused);
    if (reply->has_turned_away)
        printf (", %llu connections turned away", (unsigned long long)reply->turned_away);
    printf ("\n");
    for (size_t i = 0; i < reply->n_insecure; i++) {
        char *open = rota_clean_bytes (true, reply->insecure[i]);
        printf ("%sINSECURE%s: %s is open without keys to every process of its host\n",
                rota_style (&cli->out, ROTA_STYLE_RED), rota_style_end (&cli->out), open ? open : "?");
        free (open);
    }
    printf ("\n");
    put_table (cli, reply);
    free (version);
    free (host);
    free (election);
}

static void put_insecure (json_t *object, const Rota__PeersReply *reply)
{
    json_t *list = json_array ();
    for (size_t i = 0; i < reply->n_insecure; i++) {
        char *open = rota_clean_bytes (true, reply->insecure[i]);
        if (open)
            json_array_append_new (list, json_string (open));
        free (open);
    }
    if (reply->n_insecure > 0)
        json_object_set (object, "insecure", list);
    json_decref (list);
    if (reply->has_turned_away)
        rota_json_set_number (object, "turned_away", reply->turned_away);
}

int rota_verb_leader (rota_cli_t *cli)
{
    Rota__PeersQuery query = ROTA__PEERS_QUERY__INIT;
    Rota__PeersReply *reply = NULL;
    rota_link_t link;

    int code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    code = rota_link_call (&link, ROTA_MESSAGE_PEERS_QUERY, &query.base, ROTA_CALL_MS,
                           ROTA_MESSAGE_PEERS_REPLY, &reply);
    const char *endpoint = rota_peer_endpoint (rota_client_peer (link.client));
    if (code == ROTA_EXIT_DONE && cli->json) {
        json_t *object = json_object (), *list = json_array ();
        rota_json_set_string (object, "endpoint", endpoint);
        rota_json_set_number (object, "leader_epoch", reply->leader_epoch);
        rota_json_set_time (object, "started", reply->started_ms);
        rota_json_set_time (object, "leader_since", reply->leader_since_ms);
        rota_json_set_text (object, "election", reply->has_election, reply->election);
        rota_json_set_text (object, "host", reply->has_host, reply->host);
        rota_json_set_number (object, "pid", reply->pid);
        rota_json_set_number (object, "messages_routed", reply->messages_routed);
        rota_json_set_number (object, "messages_refused", reply->messages_refused);
        for (size_t i = 0; i < reply->n_peers; i++)
            json_array_append_new (list, rota_json_peer (reply->peers[i]));
        json_object_set_new (object, "peers", list);
        put_insecure (object, reply);
        rota_json_document (stdout, object);
    } else if (code == ROTA_EXIT_DONE) {
        put (cli, reply, endpoint ? endpoint : "?");
    }
    rota_link_close (&link);
    return code;
}
