/* budget.h - limits on what is spent, as other verbs set them. */
#ifndef ROTA_CLI_BUDGET_H
#define ROTA_CLI_BUDGET_H

#include "cli/link.h"

/* From now on the source may spend so much more: "5usd", "usd=5", "tokens=200k". An exit code. */
int rota_budget_allow (rota_link_t *link, const char *source, const char *amount);

#endif
