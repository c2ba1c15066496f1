/* SPDX-License-Identifier: ISC */
#include "base/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/buf.h"
#include "base/mem.h"

/* Keep the library's constructor idle: digest_start_library is its start. */
GNUTLS_SKIP_GLOBAL_INIT

struct digest {
	gnutls_hash_hd_t handle;
};

/* A hash that fails leaves nothing to compare messages by: give up. */
static void
must(int status)
{
	if (status < 0) {
		fprintf(
		    stderr, "poplar: GnuTLS: %s\n", gnutls_strerror(status));
		abort();
	}
}

void
digest_start_library(void)
{
	static bool started;

	if (started)
		return;
	must(gnutls_global_init());
	started = true;
}

const char *
digest_library_version(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "GnuTLS %s", gnutls_check_version(NULL));
	return text;
}

struct digest *
digest_new(void)
{
	struct digest *digest = mem_alloc(sizeof(*digest));

	digest_start_library();
	must(gnutls_hash_init(&digest->handle, GNUTLS_DIG_SHA256));
	return digest;
}

void
digest_update(struct digest *digest, const void *data, size_t n)
{
	must(gnutls_hash(digest->handle, data, n));
}

void
digest_finish(struct digest *digest, uint8_t out[DIGEST_SHA256_SIZE])
{
	gnutls_hash_deinit(digest->handle, out);
	free(digest);
}

void
digest_sha256(const void *data, size_t n, uint8_t out[DIGEST_SHA256_SIZE])
{
	digest_start_library();
	must(gnutls_hash_fast(GNUTLS_DIG_SHA256, data, n, out));
}

uint64_t
digest_short(const uint8_t sha256[DIGEST_SHA256_SIZE])
{
	uint64_t key = 0;

	for (size_t i = 0; i < sizeof(key); i++)
		key = key << 8 | sha256[i];
	return key;
}

void
digest_md5_hex(const void *data, size_t n, char out[DIGEST_MD5_HEX_SIZE])
{
	uint8_t md5[16];

	digest_start_library();
	/* FIPS mode calls MD5 unfit; APOP knows nothing else. */
	GNUTLS_FIPS140_SET_LAX_MODE();
	must(gnutls_hash_fast(GNUTLS_DIG_MD5, data, n, md5));
	GNUTLS_FIPS140_SET_STRICT_MODE();
	for (size_t i = 0; i < sizeof(md5); i++)
		snprintf(out + 2 * i, 3, "%02x", md5[i]);
}

char *
digest_base64(const void *data, size_t n)
{
	/* GnuTLS only reads through this pointer, but does not say so. */
	gnutls_datum_t in = {(unsigned char *)(uintptr_t)data, (unsigned int)n};
	gnutls_datum_t encoded;
	char *copy;

	must(gnutls_base64_encode2(&in, &encoded));
	copy = mem_alloc(encoded.size + 1);
	memcpy(copy, encoded.data, encoded.size);
	copy[encoded.size] = '\0';
	gnutls_memset(encoded.data, 0, encoded.size);
	gnutls_free(encoded.data);
	return copy;
}

bool
digest_base64_decode(const char *text, size_t n, struct buf *out)
{
	gnutls_datum_t in = {(unsigned char *)(uintptr_t)text, (unsigned int)n};
	gnutls_datum_t decoded = {NULL, 0};

	if (n == 0)
		return true;
	if (gnutls_base64_decode2(&in, &decoded) < 0)
		return false;
	buf_append(out, decoded.data, decoded.size);
	gnutls_memset(decoded.data, 0, decoded.size);
	gnutls_free(decoded.data);
	return true;
}
