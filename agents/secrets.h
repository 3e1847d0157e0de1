/* secrets.h - texts that look like keys, by the shapes that their issuers give them. */
#ifndef ROTA_SECRETS_H
#define ROTA_SECRETS_H

#include <stddef.h>

/* Longest part of a text that must be seen at once to tell. */
#define ROTA_SECRET_MAX_BYTES 256

/* What the first of them in a line is, as "an AWS access key", or NULL. */
const char *rota_secret_find (const char *line, size_t size_bytes);

#endif
