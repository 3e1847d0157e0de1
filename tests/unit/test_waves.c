/* In which order `run --dry-run` says that tasks would be worked. */
#include "cli/waves.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    rota_roadmap_t *roadmap;
    uint32_t *waves;
} plan_t;

static plan_t plan_of (const char *text)
{
    plan_t plan = {NULL, NULL};
    rota_roadmap_options_t options = {0};
    rota_error_t error = {""};
    assert_int_equal (rota_roadmap_parse ("plan.yaml", text, strlen (text), &options, &plan.roadmap, &error),
                      0);
    if (plan.roadmap->error_count > 0)
        fail_msg ("%s", plan.roadmap->faults[0].text);
    plan.waves = rota_waves (plan.roadmap);
    assert_non_null (plan.waves);
    return plan;
}

static void end (plan_t *plan)
{
    free (plan->waves);
    rota_roadmap_destroy (&plan->roadmap);
}

static uint32_t wave (const plan_t *plan, const char *id)
{
    for (size_t i = 0; i < plan->roadmap->count; i++) {
        ProtobufCBinaryData name = plan->roadmap->specs[i]->id;
        if (name.len == strlen (id) && memcmp (name.data, id, name.len) == 0)
            return plan->waves[i];
    }
    fail_msg ("no task %s", id);
    return 0;
}

static void a_task_comes_one_wave_after_the_latest_it_waits_for (void **state)
{
    (void)state;
    plan_t plan = plan_of ("tasks:\n"
                           "  - {id: d, run: x, after: [b, c]}\n"
                           "  - {id: a, run: x}\n"
                           "  - {id: b, run: x, after: a}\n"
                           "  - {id: c, run: x, after: b}\n");
    assert_int_equal (wave (&plan, "a"), 1);
    assert_int_equal (wave (&plan, "b"), 2);
    assert_int_equal (wave (&plan, "c"), 3);
    assert_int_equal (wave (&plan, "d"), 4);
    end (&plan);
}

static void a_group_is_over_with_its_last_member (void **state)
{
    (void)state;
    plan_t plan = plan_of ("tasks:\n"
                           "  - {id: after-all, run: x, after: e}\n"
                           "epics:\n"
                           "  - id: e\n"
                           "    title: E\n"
                           "    tasks:\n"
                           "      - {id: a, run: x}\n"
                           "      - {id: b, run: x, after: a}\n");
    assert_int_equal (wave (&plan, "e"), 0);
    assert_int_equal (wave (&plan, "b"), 2);
    assert_int_equal (wave (&plan, "after-all"), 3);
    end (&plan);
}

static void what_is_done_takes_no_wave (void **state)
{
    (void)state;
    plan_t plan = plan_of ("tasks:\n"
                           "  - {id: a, run: x, status: done}\n"
                           "  - {id: b, run: x, after: a}\n");
    assert_int_equal (wave (&plan, "a"), 0);
    assert_int_equal (wave (&plan, "b"), 1);
    end (&plan);
}

static void a_long_chain_takes_no_stack (void **state)
{
    (void)state;
    enum { LINKS = 20000 };
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream (&text, &size);
    fputs ("tasks:\n", stream);
    for (int i = 0; i < LINKS; i++)
        fprintf (stream, i ? "  - {id: t%d, run: x, after: t%d}\n" : "  - {id: t%d, run: x}\n", i, i - 1);
    fclose (stream);
    plan_t plan = plan_of (text);
    assert_int_equal (wave (&plan, "t19999"), LINKS);
    end (&plan);
    free (text);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_task_comes_one_wave_after_the_latest_it_waits_for),
        cmocka_unit_test (a_group_is_over_with_its_last_member),
        cmocka_unit_test (what_is_done_takes_no_wave),
        cmocka_unit_test (a_long_chain_takes_no_stack),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
