/* sandbox_internal.h - what the files of sandbox.h share: putting together the arguments of bwrap. */
#ifndef ROTA_SANDBOX_INTERNAL_H
#define ROTA_SANDBOX_INTERNAL_H

#include "agents/sandbox.h"

void rota_sandbox_add (rota_sandbox_t *self, const char *argument);
void rota_sandbox_add_two (rota_sandbox_t *self, const char *option, const char *value);
/* At its own place, under the name that it was given too where that is another; a path that isn't there is
 * passed over. */
void rota_sandbox_add_bind (rota_sandbox_t *self, const char *option, const char *path);
/* Replaced by something empty. */
void rota_sandbox_hide (rota_sandbox_t *self, const char *path);
bool rota_sandbox_is_below (const char *path, const char *directory);

/* ---- sandbox_show.c: what there is to be read */

/* The system: programs, libraries and settings, without what only root has to know. */
void rota_sandbox_show_system (rota_sandbox_t *self);
/* What lies elsewhere and is found by PATH, the places where toolchains are kept in a home, and what
 * variables name. */
void rota_sandbox_show_tools (rota_sandbox_t *self, const rota_sandbox_spec_t *spec);
/* Programs with what they were installed with: names, which are looked up in PATH, or paths. */
void rota_sandbox_show_programs (rota_sandbox_t *self, const rota_sandbox_spec_t *spec);
/* What the settings name, "PATH" or "PATH:rw", with ~/ for the user's home. */
void rota_sandbox_show_more (rota_sandbox_t *self, const rota_sandbox_spec_t *spec);
/* Where agent programs keep their logins in the user's home, to be written too: those of the programs that
 * are run. */
void rota_sandbox_show_logins (rota_sandbox_t *self, const rota_sandbox_spec_t *spec);

#endif
