/* SPDX-License-Identifier: ISC */
/* The server's side of AUTH (RFC 5034), by GNU SASL. */
#ifndef POPD_SASL_H
#define POPD_SASL_H

#include <stdbool.h>

#include "server.h"

/* Is the mechanism among those of --sasl? */
bool sasl_offers(const struct options *o, const char *mechanism);

/*
 * An exchange; argument is what followed AUTH.  True when the client is who it
 * says, *user is to be freed then; false: "-ERR" was put.
 */
bool sasl_exchange(struct connection *c, const char *argument, char **user);

/* Dies if this popd cannot do what --sasl asks for. */
void sasl_check(const struct options *o);

#endif
