#include "tests/fuzz/material.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

const char *fuzz_file (const uint8_t *data, size_t size_bytes)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create ("fuzz", MFD_CLOEXEC);
        snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate (fd, 0) < 0 || pwrite (fd, data, size_bytes, 0) != (ssize_t)size_bytes)
        abort ();
    return path;
}

bool fuzz_is_costly (const uint8_t *data, size_t size_bytes)
{
    for (size_t i = 0; i + 1 < size_bytes; i++) {
        bool counts = data[i] == '{' && (isdigit (data[i + 1]) || data[i + 1] == ',');
        bool refers = data[i] == '\\' && isdigit (data[i + 1]);
        if (counts || refers)
            return true;
    }
    return false;
}
