/* SPDX-License-Identifier: ISC */
/* The client's side of SOCKS5 (RFC 1928, RFC 1929). */
#ifndef WIRE_SOCKS_H
#define WIRE_SOCKS_H

#include <stdint.h>

#include "base/err.h"

struct socks_params {
	const char *host; /* a name (in ASCII), which the proxy resolves, or
			     an address */
	uint16_t port;
	const char *user;     /* NULL: without a login */
	const char *password; /* NULL only if user is */
};

/*
 * Have the proxy at the other end of fd (non-blocking) connect to a host,
 * until the clock stands at until.  Not one byte is read beyond its last
 * reply.  ERR_UNAVAILABLE or ERR_TEMPFAIL as the proxy's reply says, which is
 * named; ERR_NOPERM: the proxy refused the login, or wants one; ERR_PROTOCOL:
 * this is no SOCKS5; ERR_TEMPFAIL: it hung up, or the time is up; ERR_CONFIG:
 * a name or a secret that is too long for SOCKS.
 */
int socks_connect(
    int fd, const struct socks_params *params, int64_t until, struct err *err);

#endif
