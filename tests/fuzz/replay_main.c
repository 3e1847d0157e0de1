/*
 * Runs a fuzz target over files instead of libFuzzer's inputs.
 *
 * Every build but the fuzz preset links this to tests/fuzz/fuzz_*.c, so that what the fuzzer once found is
 * tried again by each test run, with any compiler. Arguments are directories (all their regular files, in the
 * order of their names) or files. Finding no input at all is a failure: a corpus that moved must not pass for
 * one that holds.
 */

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size_bytes);

static size_t inputs_tried;

static int complain (const char *path)
{
    fprintf (stderr, "%s: %s\n", path, strerror (errno));
    return -errno;
}

/* The input lies in an allocation of exactly its size, so that AddressSanitizer sees the first byte read past
 * its end. */
static int replay_file (const char *path, size_t size_bytes)
{
    FILE *file = fopen (path, "rb");
    if (!file)
        return complain (path);
    uint8_t *data = malloc (size_bytes ? size_bytes : 1);
    if (!data || fread (data, 1, size_bytes, file) != size_bytes) {
        fprintf (stderr, "%s: could not be read whole\n", path);
        free (data);
        fclose (file);
        return -EIO;
    }
    fclose (file);

    printf ("%s (%zu bytes)\n", path, size_bytes);
    fflush (stdout); /* names the culprit if the next line crashes */
    LLVMFuzzerTestOneInput (data, size_bytes);
    inputs_tried++;
    free (data);
    return 0;
}

static int replay (const char *path)
{
    struct stat status;
    if (stat (path, &status) < 0)
        return complain (path);
    if (S_ISREG (status.st_mode))
        return replay_file (path, (size_t)status.st_size);
    if (!S_ISDIR (status.st_mode))
        return 0;

    struct dirent **entries;
    int entries_n = scandir (path, &entries, NULL, alphasort);
    if (entries_n < 0)
        return complain (path);
    int rc = 0;
    for (int i = 0; i < entries_n; i++) {
        char *inner;
        if (rc == 0 && entries[i]->d_name[0] != '.') {
            if (asprintf (&inner, "%s/%s", path, entries[i]->d_name) < 0)
                rc = -ENOMEM;
            else {
                rc = replay (inner);
                free (inner);
            }
        }
        free (entries[i]);
    }
    free (entries);
    return rc;
}

int main (int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (replay (argv[i]) < 0)
            return EXIT_FAILURE;
    if (inputs_tried == 0) {
        fprintf (stderr, "%s: no input found: give it a corpus directory with at least one file\n", argv[0]);
        return EXIT_FAILURE;
    }
    printf ("%zu inputs replayed\n", inputs_tried);
    return EXIT_SUCCESS;
}
