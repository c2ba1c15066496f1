/* SPDX-License-Identifier: ISC */
/* Hashes and base64: all of GnuTLS that the program needs outside of TLS. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

#define DIGEST_SHA256_SIZE 32
#define DIGEST_MD5_HEX_SIZE 33

/* GnuTLS is started at its first use only: a plain session that needs no
 * hash never pays for it.  May be called any number of times. */
void digest_start_library(void);

/* "GnuTLS 3.7.9" */
const char *digest_library_version(void);

/* A SHA-256 in the making; digest_finish frees it. */
struct digest;
struct digest *digest_new(void);
void digest_update(struct digest *digest, const void *data, size_t n);
void digest_finish(struct digest *digest, uint8_t out[DIGEST_SHA256_SIZE]);

/* SHA-256 of n bytes at once. */
void digest_sha256(const void *data, size_t n, uint8_t out[DIGEST_SHA256_SIZE]);

/* The first eight bytes of a SHA-256 as a number, for use as a key. */
uint64_t digest_short(const uint8_t sha256[DIGEST_SHA256_SIZE]);

/* MD5 in lower case hexadecimal digits, for APOP (RFC 1939, section 7). */
void digest_md5_hex(const void *data, size_t n, char out[DIGEST_MD5_HEX_SIZE]);

/* Base64 in one line; the caller frees it. */
char *digest_base64(const void *data, size_t n);

/* Append what n octets of base64 stand for; false if they are none. */
bool digest_base64_decode(const char *text, size_t n, struct buf *out);

#endif
