/* Any bytes as a roadmap: no crash, and what is accepted comes back the same from its export. */
#include "scheduler/roadmap.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *bytes, size_t size);

static rota_roadmap_t *parse (const void *bytes, size_t size)
{
    rota_roadmap_t *roadmap = NULL;
    rota_error_t error;
    if (rota_roadmap_parse ("/nonexistent/r.yaml", bytes, size, NULL, &roadmap, &error) < 0)
        abort ();
    return roadmap;
}

static void forget_positions (Rota__TaskSpec *spec)
{
    spec->has_line = spec->has_column = false;
    for (size_t i = 0; i < spec->n_dependencies; i++)
        spec->dependencies[i]->has_line = spec->dependencies[i]->has_column = false;
}

static void compare (Rota__TaskSpec *a, Rota__TaskSpec *b)
{
    forget_positions (a);
    forget_positions (b);
    size_t size = rota__task_spec__get_packed_size (a);
    if (rota__task_spec__get_packed_size (b) != size)
        abort ();
    uint8_t *a_bytes = malloc (size + 1), *b_bytes = malloc (size + 1);
    if (!a_bytes || !b_bytes)
        abort ();
    rota__task_spec__pack (a, a_bytes);
    rota__task_spec__pack (b, b_bytes);
    if (memcmp (a_bytes, b_bytes, size) != 0)
        abort ();
    free (a_bytes);
    free (b_bytes);
}

static void check_export (const rota_roadmap_t *roadmap)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream (&text, &size);
    if (!stream || rota_roadmap_write (stream, &roadmap->header, roadmap->specs, roadmap->count) < 0)
        abort ();
    fclose (stream);
    rota_roadmap_t *again = parse (text, size);
    if (again->error_count || again->count != roadmap->count)
        abort ();
    for (size_t i = 0; i < again->count; i++)
        compare (roadmap->specs[i], again->specs[i]);
    rota_roadmap_destroy (&again);
    free (text);
}

int LLVMFuzzerTestOneInput (const uint8_t *bytes, size_t size)
{
    rota_roadmap_t *roadmap = parse (bytes, size);
    for (size_t i = 0; i < roadmap->fault_count; i++)
        for (const char *c = roadmap->faults[i].text; *c; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7F)
                abort ();
    if (roadmap->error_count == 0)
        check_export (roadmap);
    rota_roadmap_destroy (&roadmap);
    return 0;
}
