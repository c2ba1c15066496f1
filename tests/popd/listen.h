/* SPDX-License-Identifier: ISC */
/* The sockets it listens on, and the file that tells their ports. */
#ifndef POPD_LISTEN_H
#define POPD_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include "options.h"

enum {
	LISTENERS = 2 * LISTEN_MAX + 1
};

struct listener {
	int fd; /* does not block */
	bool implicit_tls;
};

struct listeners {
	struct listener list[LISTENERS];
	size_t count;
};

/* Opens all of them, then writes the port file. Dies on failure. */
void listen_open(struct listeners *l, const struct options *o);

void listen_close(struct listeners *l);

/* Small answers leave at once. */
void listen_no_delay(int fd);

#endif
