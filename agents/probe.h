/* probe.h - tries a key without cost, so that a wrong one is said before any work is handed out.
 */
#ifndef ROTA_PROBE_H
#define ROTA_PROBE_H

/* GET `url` with the header `name: key`: the HTTP status when the service refuses the key (401, 403), else 0,
 * also when it can't be reached: then nothing is known. Takes at most a few seconds. */
int rota_probe_key (const char *url, const char *name, const char *key);

#endif
