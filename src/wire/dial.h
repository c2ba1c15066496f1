/* SPDX-License-Identifier: ISC */
/* From a host name, or a path, to a connected socket. */
#ifndef WIRE_DIAL_H
#define WIRE_DIAL_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

struct dial_params {
	const char *host;    /* name or address; IDN in UTF-8 */
	const char *service; /* port number or name of a service */
	int family;	     /* AF_UNSPEC, AF_INET or AF_INET6 */
	const char *source;  /* address to connect from; NULL: any */
	int64_t timeout;     /* milliseconds for name and TCP; 0: none */

	/* A SOCKS5 proxy, which resolves host; NULL: none.  Then family and
	 * source are for the way to it. */
	const char *proxy_host;
	const char *proxy_service;
	const char *proxy_user; /* NULL: no login */
	const char *proxy_password;
};

/*
 * Resolve and connect.  All addresses are tried, in the order of
 * getaddrinfo(3) with the families taking turns; the next one starts when one
 * has failed or after 250 ms without an answer, and the first to connect wins
 * (RFC 8305).  Returns a non-blocking, close-on-exec descriptor with
 * TCP_NODELAY, or -1: ERR_NOHOST, ERR_UNAVAILABLE (each address and its cause
 * is named), ERR_TEMPFAIL (the time is up, or the resolver failed for now),
 * ERR_CONFIG (no such service).  With a source, only addresses of its family
 * are tried.  Through a proxy, host is never resolved here, and the errors are
 * also those of socks_connect.
 */
int dial(const struct dial_params *params, struct err *err);

/*
 * Connect to a unix socket.  timeout is in milliseconds, 0 for none.  Returns
 * a non-blocking, close-on-exec descriptor, or -1: ERR_UNAVAILABLE, or
 * ERR_TEMPFAIL where the server has too many waiting for all that time.
 */
int dial_unix(const char *path, int64_t timeout, struct err *err);

#endif
