/* SPDX-License-Identifier: ISC */
/* The passwords of ~/.netrc.  Pure: text in, a password out. */
#ifndef RUN_NETRC_H
#define RUN_NETRC_H

#include <stddef.h>

/*
 * The password for user at host in n bytes of a netrc file, any bytes but NUL.
 * Of several entries that fit, the one that names both host and user counts,
 * then one for the host without a login, then "default" with the user, then
 * "default" alone; of equal ones the first.  Host names match in any case.
 * Words are separated by blanks; double quotes hold blanks together, and a
 * backslash takes the next character as it is.  Macros and unknown words are
 * passed over.  The caller frees it with mem_free_secret; NULL: none.
 */
char *netrc_password(
    const char *text, size_t n, const char *host, const char *user);

#endif
