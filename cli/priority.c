#include "cli/priority.h"

#include "bus/units.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

int rota_priority_parse (const char *text, int32_t *ret_priority)
{
    static const struct {
        const char *word;
        int32_t priority;
    } WORDS[] = {{"critical", 100}, {"high", 50}, {"normal", 0}, {"medium", 0}, {"low", -50}};
    int64_t number;

    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++)
        if (strcmp (WORDS[i].word, text) == 0) {
            *ret_priority = WORDS[i].priority;
            return 0;
        }
    if (rota_integer_parse (text, &number) < 0 || number < -1000 || number > 1000)
        return -EINVAL;
    *ret_priority = (int32_t)number;
    return 0;
}
