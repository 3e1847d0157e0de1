/* host_internal.h - the inside of the agent host, shared by its parts:
 *
 *   host.c        the object, its loop and its clock, leaving
 *   host_work.c   starting attempts, their ends, what earlier hosts left
 *   host_talk.c   messages to and from the scheduler, output for readers
 */
#ifndef ROTA_HOST_INTERNAL_H
#define ROTA_HOST_INTERNAL_H

#include "agents/adapter.h"
#include "agents/cgroup.h"
#include "agents/fence.h"
#include "agents/hold.h"
#include "agents/host.h"
#include "agents/logs.h"
#include "bus/alarm.h"
#include "bus/clock.h"
#include "bus/peer.h"

#include <czmq.h>
#include <limits.h>

#define ROTA_AGENT_SAY_AFTER_MS 2000 /* whoever waits says so */

struct rota_agent {
    char *state_dir, *name, *kind, *endpoints, *exec_command, *account;
    char host[256];
    char directory[PATH_MAX]; /* where the host was started */
    char spool[PATH_MAX];
    char cgroup_parent[ROTA_CGROUP_PATH_BYTES]; /* "" = none */
    unsigned slots;
    rota_curve_t curve;
    const rota_settings_t *settings;
    rota_spawner_t *spawner;
    const rota_adapter_t *adapter;
    rota_adapter_context_t context;
    rota_adapter_check_t check;
    rota_limits_t *limits;

    rota_ready_t *ready;
    zloop_t *loop;
    rota_peer_t *peer;
    rota_alarm_t *alarm;
    rota_arena_t *arena;
    rota_logs_walk_t *walk;
    rota_clock_anchor_t anchor;
    int stop_fd; /* eventfd: counts the stops asked for */
    int lock_fd; /* of the spool; -1 = another host has it still */
    zmq_pollitem_t stop_item, spawner_item;

    rota_holds_t holds;
    uint8_t given_slots[ROTA_AGENT_SLOTS_LIMIT / 8]; /* bits: homes that this host has handed out */
    rota_fence_t fence;
    uint64_t launches;
    bool swept;      /* no stray process of an earlier host is left */
    bool registered; /* the scheduler knows what we hold */
    unsigned stops;  /* how often we were told to leave */
    bool done;
    int status; /* of run */
    uint64_t accepted, finished;

    /* Messages that the scheduler answers carry a conversation of the host's own, not the peer's, because
     * they must never be sent again as they were: what they list is true only when they are sent. */
    uint8_t conversation[16];
    uint8_t scheduler[16]; /* the one that knows us, while registered */
    uint64_t sequence, register_sequence, heartbeat_sequence;
    int64_t heartbeat_sent_ms, register_sent_ms; /* boot time */
    int64_t heard_ms; /* boot time: when the newest message was sent that the scheduler has answered */
    int64_t heartbeat_every_ms;
    uint32_t grace_ms;
    /* Monotonic; INT64_MAX = no wish. */
    int64_t lock_at, sweep_at, register_at, heartbeat_at, report_at, walk_at, leave_at, say_at, check_at;
};

/* host.c: looks at the clock before it sleeps again. */
void rota_agent_look (rota_agent_t *self);
void rota_agent_fail (rota_agent_t *self, int status);

/* host_work.c */
typedef enum {
    ROTA_TAKEN,    /* it runs, or has ended at once: it is held */
    ROTA_NOT_TAKEN /* not now; the scheduler asks again */
} rota_taking_t;
rota_taking_t rota_agent_take (rota_agent_t *self, const uint8_t store[16],
                               const Rota__Assignment *assignment);
void rota_agent_on_ends (rota_agent_t *self);  /* the spawner has something to tell */
int rota_agent_take_over (rota_agent_t *self); /* what the spool says earlier hosts left */
void rota_agent_sweep (rota_agent_t *self);    /* one round; sets sweep_at when there is need for another */
/* host_slot.c: the number whose home a new attempt gets. */
unsigned rota_agent_free_slot (rota_agent_t *self, const rota_hold_t *for_hold);
void rota_agent_stop_attempt (rota_agent_t *self, rota_hold_t *hold, uint32_t grace_ms);
/* What counts in another store than the fence's; how many there were. */
size_t rota_agent_drop_old_store (rota_agent_t *self);
void rota_agent_forget (rota_agent_t *self, rota_hold_t *hold, bool quarantine);

/* host_batch.c */
/* No member of the batch has another attempt here. */
bool rota_agent_batch_fits (const rota_agent_t *self, const uint8_t store[16],
                            const Rota__Assignment *leader);
/* Those that its spec names, as held too. */
void rota_agent_add_riders (rota_agent_t *self, const rota_hold_t *leader);
rota_hold_t *rota_agent_leader_of (const rota_agent_t *self, const rota_hold_t *rider); /* NULL: it is gone */
/* What became of it when its leader ended so. */
void rota_agent_judge_rider (const rota_agent_t *self, rota_hold_t *rider, const rota_outcome_t *outcome,
                             const rota_adapter_result_t *result, rota_adapter_result_t *ret_result);

/* host_talk.c */
void rota_agent_connect (rota_agent_t *self);
void rota_agent_register (rota_agent_t *self);
int64_t rota_agent_lease_left_ms (const rota_agent_t *self, uint32_t lease_ms); /* of an assignment, now */
void rota_agent_heartbeat (rota_agent_t *self);
void rota_agent_report (rota_agent_t *self, int64_t now_ms);

#endif
