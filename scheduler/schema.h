/* schema.h - the tables of the store and how an older file is brought forward. */
#ifndef ROTA_SCHEMA_H
#define ROTA_SCHEMA_H

#include "bus/error.h"

#include <sqlite3.h>

int rota_schema_version (void); /* that this program writes */

/* Applies what is missing, each migration in a transaction of its own. 0; -EPROTO for a file of a newer rota;
 * -EIO. */
int rota_schema_migrate (sqlite3 *db, rota_error_t *error);

#endif
