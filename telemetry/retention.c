#include "telemetry/retention.h"

#include <assert.h>

#define DAY_MS (INT64_C (24) * 3600 * 1000)

static bool too_old (const rota_retained_t *file, int64_t age_ms, int64_t now_ms)
{
    int64_t end_ms = ((int64_t)file->day + 1) * DAY_MS;
    int64_t margin_ms = age_ms < DAY_MS ? age_ms : DAY_MS;
    return now_ms - end_ms - margin_ms >= age_ms;
}

size_t rota_retention_choose (const rota_retained_t *files, size_t count, const rota_retention_t *limits,
                              int64_t now_ms, bool *ret_remove)
{
    size_t removed = 0;
    int64_t total_bytes = 0;

    for (size_t i = 0; i < count; i++) {
        assert (i == 0 || files[i - 1].day < files[i].day ||
                (files[i - 1].day == files[i].day && files[i - 1].number <= files[i].number));
        ret_remove[i] = !files[i].open && too_old (&files[i], limits->age_ms, now_ms);
        if (ret_remove[i])
            removed++;
        else
            total_bytes += files[i].size_bytes;
    }
    for (size_t i = 0; i < count && total_bytes > limits->total_bytes; i++) {
        if (ret_remove[i] || files[i].open)
            continue;
        ret_remove[i] = true;
        removed++;
        total_bytes -= files[i].size_bytes;
    }
    return removed;
}
