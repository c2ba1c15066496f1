/* SPDX-License-Identifier: ISC */
/* Where the password of an account comes from. */
#ifndef RUN_SECRET_H
#define RUN_SECRET_H

#include "base/err.h"
#include "conf/conf.h"

/*
 * From the rc file, a command, or a prompt that the parent shows (parent is
 * the descriptor for events).  Each source has 60 seconds.  The secret is
 * masked in everything that is logged from now on.  The caller frees it with
 * mem_free_secret.  NULL: ERR_NOPERM if there is none, ERR_CONFIG for a
 * command that fails.
 */
char *secret_get(const struct account *account, int parent, struct err *err);

#endif
