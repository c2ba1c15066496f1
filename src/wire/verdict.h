/* SPDX-License-Identifier: ISC */
/* What is wrong with a certificate, in words.  For trust.c alone. */
#ifndef WIRE_VERDICT_H
#define WIRE_VERDICT_H

#include <time.h>

#include "base/digest.h"
#include "base/err.h"

#define VERDICT_KEY_SIZE 52 /* "sha256/", 44 characters of base64 */

struct gnutls_x509_crt_int; /* what a gnutls_x509_crt_t points to */

/* The certificate of a server. */
struct certificate {
	struct gnutls_x509_crt_int *x509;
	const void *chain; /* gnutls_datum_t, as it was sent, this one first */
	unsigned int n_chain;
	const char *name; /* that it should have; NULL: nobody knows */
	char fingerprint[3 * DIGEST_SHA256_SIZE]; /* its SHA-256, "AB:CD:..." */
	time_t revoked; /* by the OCSP response that came with it; 0: not */
	char key[VERDICT_KEY_SIZE]; /* "sha256/BASE64=" of its public key */
};

/* Read the first of a chain of n_chain >= 1; a GnuTLS error code, 0 is none.
 * verdict_free in either case; chain and name must live until then. */
int verdict_read(struct certificate *certificate, const void *chain,
    unsigned int n_chain, const char *name);
void verdict_free(struct certificate *certificate);

/*
 * The library's status of the chain, and dates and name as they are seen here:
 * 0 if all is well, -1 with ERR_PROTOCOL that names everything that is wrong,
 * and the hint that helps.
 */
int verdict_judge(const struct certificate *certificate, unsigned int status,
    struct err *err);

/* Refuse for the problems given, naming the certificate.  Always -1. */
int verdict_refuse(const struct certificate *certificate, const char *problems,
    struct err *err);

/* Say how to pin this certificate. */
void verdict_hint_pin(const struct certificate *certificate, struct err *err);

#endif
