/* SPDX-License-Identifier: ISC */
/* Listens, and gives each connection a thread, until there is a reason to end.
 */
#ifndef POPD_SERVER_H
#define POPD_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"
#include "stream.h"
#include "tls.h"

struct connection {
	int number; /* from 1 */
	struct stream *stream;
	struct tls_server *tls; /* NULL: there is none */
	bool secure;		/* TLS is on */
	const struct options *options;
	void *context;
};

typedef void handler(struct connection *);

/* What the server serves. */
struct service {
	handler *handle; /* returns when the connection is over */
	void *context;
	int64_t limit; /* connections, then it ends; 0 is no limit */
	int64_t grace; /* ms that connections get to end after a signal */
};

struct ending_of_server {
	bool late; /* its lifetime was over; else limit, signal, end of input */
	bool busy; /* connections still run: free nothing, leave by _exit */
};

struct ending_of_server server_run(
    const struct options *o, const struct service *service);

/* Shakes hands as a server, logs the outcome. */
bool connection_start_tls(struct connection *c, int64_t wait, const char **why);

#endif
