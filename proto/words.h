/* words.h - short names for protobuf-c's enum values: STATUS (DONE) is ROTA__TASK_STATUS__TASK_STATUS_DONE.
 */
#ifndef ROTA_WORDS_H
#define ROTA_WORDS_H

#include "proto/rota.pb-c.h"

#define STATUS(name) ROTA__TASK_STATUS__TASK_STATUS_##name
#define PHASE(name) ROTA__PHASE__PHASE_##name
#define CAUSE(name) ROTA__BLOCK_CAUSE__BLOCK_CAUSE_##name
#define RESULT(name) ROTA__RESULT_CLASS__RESULT_CLASS_##name
#define LIMIT(name) ROTA__LIMIT_KIND__LIMIT_KIND_##name
#define EVENT(name) ROTA__EVENT_TYPE__EVENT_TYPE_##name
#define NODE(name) ROTA__NODE_KIND__NODE_KIND_##name
#define VERB(name) ROTA__CONTROL_VERB__CONTROL_VERB_##name
#define ERROR_CODE(name) ROTA__ERROR_CODE__ERROR_CODE_##name
#define NOTE(name) ROTA__NOTE_TYPE__NOTE_TYPE_##name
#define DEPENDENCY(name) ROTA__DEPENDENCY_TYPE__DEPENDENCY_TYPE_##name

#endif
