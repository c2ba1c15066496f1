/* SPDX-License-Identifier: ISC */
/* Where the rc file and the state lie if nobody says otherwise. */
#ifndef CONF_PATHS_H
#define CONF_PATHS_H

#include "conf/conf.h"

/* The default of uidls_file for an account, with its marks; to be freed. */
char *paths_state_default(const struct account *account);

/*
 * Replace %U, %H and %A (user, host, account) in a uidls_file, each made safe
 * as a part of a file name; to be freed.
 */
char *paths_expand(const char *said, const struct account *account);

#endif
