/* SPDX-License-Identifier: ISC */
/* TLS over a connected socket; see trust.h for whom it trusts. */
#ifndef WIRE_TLS_H
#define WIRE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct tls_params {
	const char *host;	/* for the name check and SNI; IDN in UTF-8 */
	const char *trust_file; /* PEM; NULL: the system's */
	const char *crl_file;	/* PEM; NULL: none */
	const char *cert_file;	/* of ours, PEM or PKCS#11 URI; NULL: none */
	const char *key_file;	/* NULL only if cert_file is */
	const char *const *fingerprints; /* hexadecimal, colons optional, or
					    sha256/BASE64= of the key */
	size_t n_fingerprints; /* with any, they alone decide whom to trust */
	const char *tofu_file; /* trust on first use, and then the key that
				  this file has for tofu_server (a word
				  without blanks); NULL: no such trust */
	const char *tofu_server;
	bool tofu_look_only;	/* do not write to it */
	bool certcheck;		/* false: anybody will do */
	const char *priorities; /* GnuTLS priority string; NULL: default */
	const char
	    *compat; /* presets of compat.c, blanks between; NULL: none */
};

struct tls;

/*
 * Handshake as a client on a non-blocking descriptor (which stays the
 * caller's), until the clock stands at until, and verify the server before
 * anything is sent to it.  ERR_PROTOCOL when the handshake or the certificate
 * fails: the text names what is wrong with it (expired, other host,
 * self-signed, unknown issuer, revoked, pin), its subject, dates, and SHA-256.
 * The trust store is read only when it is needed.  ERR_TEMPFAIL when the
 * connection is lost (but not by a server that hangs up without a word: it
 * refuses) or time is up.  NULL on failure.
 */
struct tls *tls_open(
    int fd, const struct tls_params *params, int64_t until, struct err *err);

#define TLS_WANT_READ -2
#define TLS_WANT_WRITE -3

/*
 * At most n bytes; 0 after the peer's close_notify; TLS_WANT_*: call again,
 * after poll(2) unless there is something tls_pending; -1 on failure.  An end
 * of the stream without close_notify is a failure (ERR_TEMPFAIL).
 */
ssize_t tls_read(struct tls *tls, void *data, size_t n, struct err *err);

/* As tls_read; after TLS_WANT_* call again with the same bytes, which may be
 * followed by more. */
ssize_t tls_write(struct tls *tls, const void *data, size_t n, struct err *err);

/* Received bytes are waiting that poll(2) does not know of. */
bool tls_pending(const struct tls *tls);

/*
 * What is only the same at both ends of this very connection: tls-exporter
 * (RFC 9266) with TLS 1.3, below it tls-unique (RFC 5929), and only with the
 * extended master secret, for without somebody between can make it the same
 * (RFC 7627).  False: there is none.
 */
#define TLS_BINDING_MAX 64
struct tls_binding {
	bool is_exporter;
	size_t size;
	unsigned char data[TLS_BINDING_MAX];
};
bool tls_get_binding(const struct tls *tls, struct tls_binding *binding);

/* "TLS1.3 AES-256-GCM": a printable phrase, cut to fit. */
char *tls_describe(const struct tls *tls, char *dst, size_t size);

/* Say close_notify if that is possible at once, and free. */
void tls_close(struct tls *tls);

#endif
