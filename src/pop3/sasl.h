/* SPDX-License-Identifier: ISC */
/*
 * SASL mechanisms (RFC 4422), the client's side and without a connection:
 * challenges come in and responses go out, as base64.  What is a line or two
 * is our own, the other mechanisms are those of GNU SASL.
 */
#ifndef POP3_SASL_H
#define POP3_SASL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum sasl_mechanism {
	SASL_PLAIN,	  /* RFC 4616 */
	SASL_LOGIN,	  /* draft-murchison-sasl-login */
	SASL_EXTERNAL,	  /* RFC 4422, appendix A */
	SASL_OAUTHBEARER, /* RFC 7628 */
	SASL_XOAUTH2,	  /* Google's and Microsoft's, before that RFC */
	SASL_CRAM_MD5,	  /* RFC 2195 */
	SASL_DIGEST_MD5,  /* RFC 2831 */
	SASL_SCRAM_SHA_1, /* RFC 5802 */
	SASL_SCRAM_SHA_1_PLUS,
	SASL_SCRAM_SHA_256, /* RFC 7677 */
	SASL_SCRAM_SHA_256_PLUS,
	SASL_GSSAPI, /* RFC 4752 */
	SASL_NTLM,
	SASL_MECHANISMS, /* how many */
};

/* A challenge may be so long, decoded. */
#define SASL_CHALLENGE_MAX 16384

struct sasl_params {
	enum sasl_mechanism mechanism;
	const char *user;
	const char *secret; /* password or token; NULL where none is needed */
	const char *host;   /* of the server */
	const char *port;   /* its number, for OAUTHBEARER */
	const char *domain; /* for NTLM; NULL: none */

	/* SCRAM: what a server must at least make of each password tried by
	 * whoever has listened; 0: one iteration. */
	unsigned int iterations_min;

	/* Channel binding of the -PLUS mechanisms: tls-exporter (RFC 9266) or
	 * tls-unique (RFC 5929); without, its size is 0. */
	const void *binding;
	size_t binding_size;
	bool binding_is_exporter;
};

struct sasl;

/* As it is registered: "SCRAM-SHA-256". */
const char *sasl_name(enum sasl_mechanism mechanism);

/* Is it here?  If not, GNU SASL is not, or it was built without it. */
bool sasl_has(enum sasl_mechanism mechanism);

/* "GNU SASL 2.2.0"; NULL without it. */
const char *sasl_library_version(void);

/* Does it prove by a secret of ours, and is this an access token (RFC 6750)
 * and no password? */
bool sasl_needs_secret(enum sasl_mechanism mechanism);
bool sasl_needs_token(enum sasl_mechanism mechanism);

/* The first response may travel with the command (RFC 5034): the client speaks
 * first, and it is not known that servers cannot take it so. */
bool sasl_has_initial_response(enum sasl_mechanism mechanism);

/* params must outlive it.  ERR_CONFIG: the mechanism is not here, or what it
 * needs cannot be used; NULL then. */
struct sasl *sasl_open(const struct sasl_params *params, struct err *err);
void sasl_close(struct sasl *sasl); /* NULL is nothing to do */

/*
 * The response to a challenge of n octets of base64, to none (NULL) the
 * initial one, in base64, which the caller wipes; one that holds a secret is
 * masked in what is logged from now on.  NULL: the exchange is to be ended,
 * and so is the session; ERR_PROTOCOL if the challenge is none that the
 * mechanism knows.
 */
char *sasl_step(
    struct sasl *sasl, const char *challenge, size_t n, struct err *err);

enum sasl_mechanism sasl_mechanism(const struct sasl *sasl);

/* Nothing was answered yet. */
bool sasl_is_silent(const struct sasl *sasl);

/* A response was given that a secret can be got from, or tried by. */
bool sasl_gave_secret(const struct sasl *sasl);

/* Why the server is going to say no, as it said in a challenge: JSON (RFC
 * 7628, section 3.2.2), printable; "" for nothing. */
const char *sasl_reason(const struct sasl *sasl);

/* The server says yes: may it, and has it proved what it has to?  If not,
 * ERR_PROTOCOL, and the session must end. */
int sasl_finish(const struct sasl *sasl, struct err *err);

#endif
