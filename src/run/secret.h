/* SPDX-License-Identifier: ISC */
/* Where the password of an account comes from. */
#ifndef RUN_SECRET_H
#define RUN_SECRET_H

#include <stdbool.h>

#include "base/err.h"
#include "conf/conf.h"

/*
 * In the parent, before there are workers: give the accounts whose password
 * is to come from a descriptor the first line that is read there within 60
 * seconds, or a reason why there is none.  Those that name the same one get
 * the same.  Closes the descriptors.
 */
void secret_read_descriptors(const struct conf *conf);

/*
 * From what the account names: password, passwordeval or passwordfd.  If it
 * names nothing: the first that has one of
 * $CREDENTIALS_DIRECTORY/poplar.ACCOUNT,
 * ~/.netrc, the key ring, and a prompt that the parent shows (parent is the
 * descriptor for events).  Each source has 60 seconds, people have more.  The
 * secret is masked in everything that is logged from now on, and the account
 * holds it no longer: it is for one call in a worker.  The caller frees it
 * with mem_free_secret.  NULL: ERR_NOPERM if there is none, ERR_CONFIG for a
 * source that is there and fails.
 */
char *secret_get(const struct account *account, int parent, struct err *err);

/* Is it an access token that a command can print anew? */
bool secret_is_renewable(const struct account *account);

/* The new token in place of one that was refused, masked and to be freed as
 * above; NULL if there is none, or no other. */
char *secret_renew(const struct account *account, const char *refused);

#endif
