/* A day with 100 agents: 5 % of the attempts fail, 5 % meet a limit, hosts and the scheduler die; all
 * invariants hold, every start is the one that the order asks for, and the memory stays as it is.
 *
 * 5 000 tasks; 100 000 with ROTA_TEST_LONG=1, or as many as ROTA_TEST_TASKS says. */
#include "tests/load/day.h"

#include <malloc.h>
#include <sqlite3.h>
#include <time.h>
#include <unistd.h>

size_t __attribute__ ((weak)) __sanitizer_get_current_allocated_bytes (void);

/* What the core and the test hold; SQLite's cache fills up to its own limit. */
static size_t bytes_in_use (void)
{
    size_t all = __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes ()
                                                         : mallinfo2 ().uordblks + mallinfo2 ().hblkhd;
    return all - (size_t)sqlite3_memory_used ();
}

static long status_kib (const char *what)
{
    char line[128];
    long kib = 0;
    FILE *file = fopen ("/proc/self/status", "re");
    while (file && fgets (line, sizeof line, file))
        if (strncmp (line, what, strlen (what)) == 0)
            kib = strtol (line + strlen (what) + 1, NULL, 10);
    if (file)
        fclose (file);
    return kib;
}

static void forget_peak (void)
{
    FILE *file = fopen ("/proc/self/clear_refs", "we");
    if (!file)
        return;
    fputs ("5", file);
    fclose (file);
}

static size_t tallies_of_tasks (const day_t *self)
{
    size_t count = 0;
    for (size_t i = 0; i < rota_core_tally_count (self->core); i++) {
        rota_core_tally_t tally;
        rota_core_tally (self->core, i, &tally);
        count += tally.scope == ROTA_SCOPE_TASK;
    }
    return count;
}

typedef struct {
    size_t bytes, tallies;
    long peak_kib;
} quarter_t;

static double seconds (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void step (day_t *self)
{
    self->now_ms += STEP_MS;
    rota_core_tick (self->core, self->now_ms, 0);
    day_order_step (self);
    day_agents_live (self);
    day_commit (self);
}

static void count_fault (void *owner, const char *fault)
{
    print_error ("%s\n", fault);
    ++*(size_t *)owner;
}

static void expect_sound_at_the_end (day_t *self)
{
    rota_error_t error = {""};
    size_t faults = 0;
    day_verify (self);
    assert_int_equal (rota_core_lease_count (self->core), 0);
    assert_true (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
    day_order_replay (self);
    rota_store_check (self->store, self->core, count_fault, &faults, &error);
    assert_int_equal (faults, 0);
}

/* A tally of what was spent on a task is kept as long as the task; the rest is as large at the end of the day
 * as after its first quarter. */
static void expect_flat (const quarter_t quarters[4], size_t tally_bytes)
{
    size_t tallies = quarters[3].tallies - quarters[0].tallies;
    size_t allowed = quarters[0].bytes + quarters[0].bytes / 20 + (1 << 18) + 2 * tallies * tally_bytes;
    MUST (quarters[3].bytes <= allowed, "%zu bytes in use after the first quarter, %zu after the last",
          quarters[0].bytes, quarters[3].bytes);
}

static void a_day_of_a_hundred_agents (void **state)
{
    const char *is_long = getenv ("ROTA_TEST_LONG"), *given = getenv ("ROTA_TEST_TASKS"),
               *seed = getenv ("ROTA_TEST_SEED");
    size_t tasks = given ? strtoul (given, NULL, 10) : is_long && *is_long == '1' ? 100000 : 5000;
    day_t day;
    quarter_t quarters[4] = {{0}};
    double began_s = seconds ();
    (void)state;
    day_open (&day, tasks, seed ? strtoull (seed, NULL, 10) : 1);
    day_commit (&day);
    day_agents_open (&day);
    print_message ("%zu tasks in %zu epics, %d agents; in use after the import: %zu KiB\n", tasks,
                   day.nodes - tasks, AGENTS, bytes_in_use () / 1024);
    forget_peak ();
    for (size_t quarter = 0; quarter < 4;) {
        step (&day);
        MUST (day.now_ms < DAY_START_MS + INT64_C (86400000), "the day ends with %zu of %zu tasks", day.ended,
              tasks);
        if (day.now_ms / STEP_MS % 600 == 0)
            day_verify (&day);
        if (day.ended < tasks * (quarter + 1) / 4)
            continue;
        quarters[quarter] = (quarter_t){bytes_in_use (), tallies_of_tasks (&day), status_kib ("VmHWM:")};
        print_message (
            "%5.1f h: %zu tasks ended, %zu KiB in use besides SQLite, %zu tallies of tasks, %ld KiB "
            "RSS at most\n",
            (double)(day.now_ms - DAY_START_MS) / 3600000, day.ended, quarters[quarter].bytes / 1024,
            quarters[quarter].tallies, quarters[quarter].peak_kib);
        forget_peak ();
        quarter++;
    }
    double took_s = seconds () - began_s;
    expect_flat (quarters, 256);
    expect_sound_at_the_end (&day);
    print_message ("%zu starts in the order that definitions and events ask for, %zu besides (claims, other "
                   "kinds); %zu failures, %zu limits, %zu hosts died, the scheduler %zu times before and %zu "
                   "after a commit; %zu commits; all invariants looked at %zu times; %.1f s, %.0f tasks/s\n",
                   day.in_order, day.apart, day.failures, day.limits, day.host_crashes, day.crashes_before,
                   day.crashes_after, day.commits, day.verified, took_s, (double)tasks / took_s);
    assert_true (day.failures > tasks / 40 && day.limits > tasks / 40 && day.host_crashes > 0 &&
                 day.crashes_before + day.crashes_after > 1 && day.in_order > tasks / 2 && day.apart > 0);
    day_close (&day);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_day_of_a_hundred_agents),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
