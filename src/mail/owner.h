/* SPDX-License-Identifier: ISC */
/* Whose leftover is this: the host and the process that a name tells. */
#ifndef MAIL_OWNER_H
#define MAIL_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#define OWNER_HOST_MAX 256

/* The name of this host, "localhost" if it has none. */
void owner_host(char host[OWNER_HOST_MAX]);

/*
 * Has the process ended?  One that nobody has waited for has, and so has an
 * earlier one with the pid that is now this process's own, as happens in
 * containers: ask only for what this process does not hold itself.
 */
bool owner_is_gone(uint64_t pid);

#endif
