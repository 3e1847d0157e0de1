#include "broker/router.h"

#include <errno.h>

#define ROLE(name) ROTA__ROLE__ROLE_##name
#define CODE(name) ROTA__ERROR_CODE__ERROR_CODE_##name

static rota_route_t refuse (const rota_catalogue_entry_t *entry, Rota__ErrorCode code, const char *text)
{
    return (rota_route_t){.kind = ROTA_ROUTE_REFUSE, .entry = entry, .code = code, .text = text};
}

static rota_route_t refuse_fault (const rota_catalogue_entry_t *entry, Rota__ErrorCode code, const char *text)
{
    rota_route_t route = refuse (entry, code, text);
    route.is_fault = true;
    return route;
}

static rota_route_t forward (const rota_catalogue_entry_t *entry, rota_member_t *target)
{
    return (rota_route_t){.kind = ROTA_ROUTE_FORWARD, .entry = entry, .target = target};
}

bool rota_router_is_answer (const rota_catalogue_entry_t *entry)
{
    return entry->direction == ROTA_TO_PEER && entry->type != ROTA_MESSAGE_ASSIGN &&
           entry->type != ROTA_MESSAGE_STOP;
}

bool rota_role_is_client (Rota__Role role)
{
    return role == ROLE (READ) || role == ROLE (SUBMIT) || role == ROLE (OPERATE) || role == ROLE (ADMIN);
}

bool rota_router_role_fits (Rota__Role endpoint_role, Rota__Role wanted)
{
    if (endpoint_role == ROTA_ENDPOINT_OF_SERVICES)
        return wanted == ROLE (SCHEDULER) || wanted == ROLE (SINK) || wanted == ROLE (BROKER);
    if (rota_role_is_client (endpoint_role)) /* their numbers rise with what they may do */
        return rota_role_is_client (wanted) && wanted <= endpoint_role;
    return wanted == endpoint_role;
}

static rota_route_t to_scheduler (const rota_catalogue_entry_t *entry, const rota_presence_t *presence)
{
    rota_member_t *scheduler = rota_presence_scheduler (presence);
    if (!scheduler)
        return refuse (entry, CODE (UNAVAILABLE), "no scheduler is connected");
    return forward (entry, scheduler);
}

static rota_route_t to_peer (const rota_catalogue_entry_t *entry, const rota_envelope_t *envelope,
                             const rota_member_t *sender, const rota_presence_t *presence)
{
    if (!envelope->has_to)
        return refuse_fault (entry, CODE (MALFORMED), "the message needs an addressee");
    rota_member_t *target = rota_presence_by_instance (presence, envelope->to);
    if (target == sender)
        return refuse (entry, CODE (NOT_ALLOWED), "the message is addressed to its sender");
    if (target)
        return forward (entry, target);
    if (rota_router_is_answer (entry))
        return (rota_route_t){.kind = ROTA_ROUTE_DROP, .entry = entry};
    return refuse (entry, CODE (UNAVAILABLE), "the addressee is not connected");
}

static rota_route_t to_agent_or_scheduler (const rota_catalogue_entry_t *entry,
                                           const rota_envelope_t *envelope, const rota_presence_t *presence)
{
    if (!envelope->has_to)
        return to_scheduler (entry, presence);
    rota_member_t *target = rota_presence_by_instance (presence, envelope->to);
    if (!target)
        return refuse (entry, CODE (UNAVAILABLE), "the agent host is not connected");
    if (target->identity.role != ROLE (AGENT))
        return refuse (entry, CODE (NOT_ALLOWED), "the addressee is no agent host");
    return forward (entry, target);
}

static rota_route_t refuse_undecodable (int decoded)
{
    if (decoded == -EPROTO)
        return refuse_fault (NULL, CODE (UNSUPPORTED_VERSION), "this broker speaks protocol version 1");
    if (decoded == -EMSGSIZE)
        return refuse_fault (NULL, CODE (TOO_LARGE), "the envelope is over 512 bytes");
    return refuse_fault (NULL, CODE (MALFORMED), "the envelope can't be decoded");
}

rota_route_t rota_router_decide (int decoded, const rota_envelope_t *envelope, size_t body_bytes,
                                 const rota_member_t *sender, const rota_presence_t *presence)
{
    if (decoded < 0)
        return refuse_undecodable (decoded);
    const rota_catalogue_entry_t *entry = rota_catalogue_find (envelope->type);
    if (!entry)
        return refuse (NULL, CODE (UNKNOWN_TYPE), "no such type of message");
    if (body_bytes > entry->max_bytes)
        return refuse (entry, CODE (TOO_LARGE), "the body is over the limit of its type");
    if (entry->type == ROTA_MESSAGE_HELLO)
        return (rota_route_t){.kind = ROTA_ROUTE_BROKER, .entry = entry};
    if (!sender)
        return refuse (entry, CODE (HELLO_REQUIRED), "say HELLO first");
    if (!(entry->senders & 1u << sender->identity.role))
        return refuse (entry, CODE (NOT_ALLOWED), "this role may not send this type of message");

    switch (entry->direction) {
    case ROTA_TO_BROKER:
        return (rota_route_t){.kind = ROTA_ROUTE_BROKER, .entry = entry};
    case ROTA_TO_SCHEDULER:
        return to_scheduler (entry, presence);
    case ROTA_TO_PEER:
        return to_peer (entry, envelope, sender, presence);
    case ROTA_TO_ROUTED:
        return to_agent_or_scheduler (entry, envelope, presence);
    case ROTA_TO_EVENTS:
        break;
    }
    return refuse (entry, CODE (NOT_ALLOWED), "events go to the publish endpoint");
}
