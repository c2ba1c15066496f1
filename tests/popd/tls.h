/* SPDX-License-Identifier: ISC */
/* The server's side of TLS over two descriptors that do not block. */
#ifndef POPD_TLS_H
#define POPD_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	TLS_AGAIN = -2,
	TLS_FAILED = -1
};

struct tls_server; /* certificate, key and priorities: shared, read only */
struct tls;	   /* one connection */

struct tls_files {
	const char *cert, *key; /* PEM */
	const char *priorities; /* or NULL */
	const char *ocsp;	/* DER, to be stapled, or NULL */
	const char *client_ca;	/* who must have signed clients, or NULL */
};

/* Loads the files; dies with a message. */
struct tls_server *tls_load(const struct tls_files *files);

void tls_unload(struct tls_server *server);

/*
 * Shakes hands until the deadline (text_now's clock). NULL on failure, the
 * reason (a static string) in *why.
 */
struct tls *tls_accept(struct tls_server *server, int in, int out,
    int64_t deadline, const char **why);

/* Octets moved; 0 at the peer's end of the stream; TLS_AGAIN, TLS_FAILED. */
ssize_t tls_read(struct tls *t, void *buf, size_t size);

/* After TLS_AGAIN it must be called again with the same data. */
ssize_t tls_write(struct tls *t, const void *data, size_t len);

/* Decrypted input that poll does not know of. */
bool tls_pending(struct tls *t);

/* Sends close_notify, waiting for room at most until the deadline. */
void tls_bye(struct tls *t, int out, int64_t deadline);

/*
 * What is the same at both ends of this connection alone: tls-exporter with
 * TLS 1.3, else tls-unique.  Its octets, 0 if there is none or no room.
 */
size_t tls_binding(struct tls *t, void *data, size_t size, bool *exporter);

/* Version name, as "TLS1.3". */
const char *tls_version(struct tls *t);

void tls_free(struct tls *t);

/* Lower-case hexadecimal MD5 of two strings in a row (for APOP). */
void tls_md5(const char *first, const char *second, char digest[33]);

#endif
