/* SPDX-License-Identifier: ISC */
/* Whom to trust: tls.c's judge of the certificate amid a handshake. */
#ifndef WIRE_TRUST_H
#define WIRE_TRUST_H

#include <stdbool.h>

#include "base/err.h"
#include "wire/tls.h"

struct gnutls_session_int; /* what a gnutls_session_t points to */
struct trust;

/*
 * Give a session that is about to shake hands its credentials, and have the
 * server's certificate judged as params say, for this name (in ASCII, no dot
 * at its end; NULL: none).  All of them must outlive trust_close.  NULL with
 * ERR_CONFIG when a file or a fingerprint makes no sense.
 */
struct trust *trust_open(struct gnutls_session_int *session,
    const struct tls_params *params, const char *name, struct err *err);

/* The certificate was refused: the err of trust_open says why. */
bool trust_has_refused(const struct trust *trust);

/* After the handshake: -1 unless a certificate was seen and accepted.  A key
 * that is new is remembered now, or that is the failure. */
int trust_conclude(const struct trust *trust);

/* Take the credentials from the session and free them; NULL is nothing. */
void trust_close(struct trust *trust);

/* Read the system's trust store now, so that workers forked later share it;
 * failure shows when it is needed. */
void trust_preload_system(void);

#endif
