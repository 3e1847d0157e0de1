/* limits.h - every bound of the broker, in one place.
 *
 * Whatever a peer can make grow has its limit here or in proto/catalogue.def (sizes of bodies). Those that an
 * operator may want to change are defaults of rota_broker_config_t (broker.h).
 */
#ifndef ROTA_BROKER_LIMITS_H
#define ROTA_BROKER_LIMITS_H

/* ---- peers */

/* With the longest names their list fits PRESENCE's 4 MiB. */
#define ROTA_BROKER_MAX_MEMBERS 4096
#define ROTA_BROKER_MAX_NAME_BYTES 200
#define ROTA_BROKER_MAX_HOST_BYTES 255
#define ROTA_BROKER_MAX_VERSION_BYTES 64
/* What left since the last PRESENCE; with more the whole list is sent instead. */
#define ROTA_BROKER_MAX_DEPARTED 1024
#define ROTA_BROKER_MAX_ENDPOINTS 16

/* ---- time */

#define ROTA_BROKER_HEARTBEAT_MS 1000
#define ROTA_BROKER_DEAD_AFTER_MS 5000
/* Silent peers and memory are looked for this often at least. */
#define ROTA_BROKER_TICK_MS 250
#define ROTA_BROKER_MEMORY_CHECK_MS 1000
/* A connection that has not finished ZeroMQ's handshake by then is closed. */
#define ROTA_BROKER_HANDSHAKE_MS 5000
#define ROTA_BROKER_LINGER_MS 200

/* ---- turns of the loop: the most read from one socket before the next one's turn */

#define ROTA_BROKER_TURN_SERVICE 512
#define ROTA_BROKER_TURN_AGENT 512
#define ROTA_BROKER_TURN_CLIENT 64
#define ROTA_BROKER_TURN_EVENTS 128

/* ---- clients: requests to the scheduler */

/* An honest client reaches neither; 50 000 small requests or 250 messages of 4 MiB a second are honest. */
#define ROTA_BROKER_CLIENT_MESSAGES_PER_S 100000
#define ROTA_BROKER_CLIENT_MESSAGES_BURST 100000
#define ROTA_BROKER_CLIENT_BYTES_PER_S (1024LL << 20)
#define ROTA_BROKER_CLIENT_BYTES_BURST (512LL << 20)
/* HELLO, heartbeats, control: what needs no waiting room, because nobody needs much of it. */
#define ROTA_BROKER_CLIENT_FAST_PER_S 2000
#define ROTA_BROKER_CLIENT_FAST_BURST 4000
/* What one client may have waiting in the broker, and all together. */
#define ROTA_BROKER_QUOTA_MESSAGES 4096
#define ROTA_BROKER_QUOTA_BYTES (16LL << 20)
#define ROTA_BROKER_WAITING_BYTES (256LL << 20)
/* What the scheduler has in hand at once; the rest waits by turns. */
#define ROTA_BROKER_IN_FLIGHT 1024
#define ROTA_BROKER_IN_FLIGHT_BYTES (64LL << 20)
/* An answer that has not come after one to two of these is no longer counted on. */
#define ROTA_BROKER_IN_FLIGHT_AGE_MS 30000
#define ROTA_BROKER_RETRY_AFTER_MS 50

/* ---- queues of the sockets (messages a connection) and what lies in them (bytes a peer) */

#define ROTA_BROKER_CLIENT_RECEIVE_QUEUE 128
#define ROTA_BROKER_CLIENT_SEND_QUEUE 4096
#define ROTA_BROKER_AGENT_QUEUE 4096
#define ROTA_BROKER_SERVICE_QUEUE 16384
#define ROTA_BROKER_EVENTS_QUEUE 1024
/* Smaller bodies are bounded well enough by the number of messages and are not counted. */
#define ROTA_BROKER_COUNTED_BODY_BYTES 4096
#define ROTA_BROKER_UNSENT_CLIENT_BYTES (64LL << 20)
#define ROTA_BROKER_UNSENT_SERVICE_BYTES (256LL << 20)
#define ROTA_BROKER_UNSENT_EVENTS_BYTES (128LL << 20)
#define ROTA_BROKER_BACKLOG 1024

/* ---- events */

#define ROTA_BROKER_TOPIC_MAX_BYTES 64

/* ---- rubbish */

/* So many malformed messages are answered; then the connection is not listened to for a while. */
#define ROTA_BROKER_FAULTS_ANSWERED 100
#define ROTA_BROKER_MUTE_MS 30000
#define ROTA_BROKER_MAX_CULPRITS 4096
/* One HELLO_REQUIRED tells a stranger as much as a thousand. */
#define ROTA_BROKER_HELLO_REQUIRED_EVERY_MS 50

/* ---- memory: above it the broker ends in order to be started again (see broker.h) */

#define ROTA_BROKER_MEMORY_BYTES (1LL << 30)

#endif
