/* catalogue.c - proto/catalogue.def as a table to look types up in. */
#include "proto/envelope.h"

#define READ (1u << ROTA__ROLE__ROLE_READ)
#define SUBMIT (1u << ROTA__ROLE__ROLE_SUBMIT)
#define OPERATE (1u << ROTA__ROLE__ROLE_OPERATE)
#define AGENT (1u << ROTA__ROLE__ROLE_AGENT)
#define SCHEDULER (1u << ROTA__ROLE__ROLE_SCHEDULER)
#define SINK (1u << ROTA__ROLE__ROLE_SINK)
#define BROKER_ROLE (1u << ROTA__ROLE__ROLE_BROKER)
#define ADMIN (1u << ROTA__ROLE__ROLE_ADMIN)

/* By type; numbers that are not used have no name. */
static const rota_catalogue_entry_t CATALOGUE[] = {
#define MESSAGE(number, NAME, Name, protobuf_name, towards, allowed, speed, limit_bytes, is_durable)         \
    [number] = {.type = number,                                                                              \
                .name = #NAME,                                                                               \
                .direction = ROTA_TO_##towards,                                                              \
                .senders = allowed,                                                                          \
                .lane = ROTA_LANE_##speed,                                                                   \
                .max_bytes = limit_bytes,                                                                    \
                .durable = is_durable,                                                                       \
                .descriptor = &rota__##protobuf_name##__descriptor},
#include "proto/catalogue.def"
};

const rota_catalogue_entry_t *rota_catalogue_find (uint32_t type)
{
    if (type >= sizeof CATALOGUE / sizeof *CATALOGUE || !CATALOGUE[type].name)
        return NULL;
    return &CATALOGUE[type];
}

const char *rota_message_name (uint32_t type)
{
    const rota_catalogue_entry_t *entry = rota_catalogue_find (type);
    return entry ? entry->name : "UNKNOWN";
}
