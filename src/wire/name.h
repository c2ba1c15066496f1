/* SPDX-License-Identifier: ISC */
/* Host names and addresses as text. */
#ifndef WIRE_NAME_H
#define WIRE_NAME_H

#include <netinet/in.h>
#include <stddef.h>

#include "base/err.h"

/*
 * The form of a host name that the DNS knows: a name in UTF-8 becomes A-labels
 * (RFC 5890), any other a plain copy.  NULL with ERR_CONFIG if it is no name.
 * The caller frees it.
 */
char *name_to_ascii(const char *host, struct err *err);

/*
 * The address of an IP literal, in network byte order and without its zone
 * (RFC 4007): returns its length, 4 or 16, or 0 if host is a name.
 */
size_t name_address(
    const char *host, unsigned char address[sizeof(struct in6_addr)]);

#endif
