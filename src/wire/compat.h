/* SPDX-License-Identifier: ISC */
/* Presets for old servers.  For tls.c alone. */
#ifndef WIRE_COMPAT_H
#define WIRE_COMPAT_H

#include "base/buf.h"
#include "base/err.h"

struct gnutls_session_int; /* what a gnutls_session_t points to */

/* Names are presets with a blank between them, NULL is none; unknown ones say
 * nothing. */

/* Append what they mean to a GnuTLS priority string. */
void compat_append(const char *names, struct buf *priorities);

/* What no priority string can say: how small a Diffie-Hellman prime may be. */
void compat_limit(struct gnutls_session_int *session, const char *names);

/*
 * A handshake failed with this error of the library, or with this alert from
 * the server (-1: none): name in the hint the preset that this points to, if
 * it is not among names.
 */
void compat_hint(int error, int alert, const char *names, struct err *err);

#endif
