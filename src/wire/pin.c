/* SPDX-License-Identifier: ISC */
#include "wire/pin.h"

#include <ctype.h>
#include <string.h>

#include <gnutls/gnutls.h>

#include "base/text.h"

#define SHA1_SIZE 20
#define PIN_SHOWN_MAX 128

/* Returns the size of the hash, 0 if this is none. */
static size_t
parse_pin(const char *s, unsigned char pin[DIGEST_SHA256_SIZE])
{
	static const char hex[] = "0123456789abcdef";
	size_t digits = 0;

	memset(pin, 0, DIGEST_SHA256_SIZE);
	for (; *s != '\0'; s++) {
		const char *at = strchr(hex, tolower((unsigned char)*s));
		unsigned char *byte = pin + digits / 2;

		if (*s == ':' || *s == ' ' || *s == '\t')
			continue;
		if (at == NULL || digits == (size_t)2 * DIGEST_SHA256_SIZE)
			return 0;
		*byte = (unsigned char)(*byte << 4 | (at - hex));
		digits++;
	}
	if (digits == (size_t)2 * DIGEST_SHA256_SIZE ||
	    digits == (size_t)2 * SHA1_SIZE)
		return digits / 2;
	return 0;
}

/* "sha256/" and the base64 of 32 octets, the one way to write them. */
static bool
is_key_pin(const char *s)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz0123456789+/";

	return strncmp(s, "sha256/", 7) == 0 && strspn(s + 7, alphabet) == 43 &&
	    strcmp(s + 50, "=") == 0 &&
	    strchr("AEIMQUYcgkosw048", s[49]) != NULL;
}

int
pin_check_syntax(const struct tls_params *params, struct err *err)
{
	unsigned char pin[DIGEST_SHA256_SIZE];
	char text[PIN_SHOWN_MAX];

	for (size_t i = 0; i < params->n_fingerprints; i++) {
		const char *s = params->fingerprints[i];

		if (is_key_pin(s) || parse_pin(s, pin) > 0)
			continue;
		text_escape(text, sizeof(text), s, strlen(s));
		return err_set(err, ERR_CONFIG,
		    "\"%s\" is no fingerprint: 64 hexadecimal digits (SHA-256) "
		    "or 40 (SHA-1) are needed, or sha256/BASE64= of a public "
		    "key",
		    text);
	}
	return 0;
}

bool
pin_matches(
    const struct tls_params *params, const struct certificate *certificate)
{
	const gnutls_datum_t *der = certificate->chain;
	unsigned char sha256[DIGEST_SHA256_SIZE] = {0}, sha1[SHA1_SIZE] = {0};
	unsigned char pin[DIGEST_SHA256_SIZE];
	size_t size = sizeof(sha1);
	bool has_sha1;

	digest_sha256(der->data, der->size, sha256);
	has_sha1 = gnutls_fingerprint(GNUTLS_DIG_SHA1, der, sha1, &size) == 0;
	for (size_t i = 0; i < params->n_fingerprints; i++) {
		if (strcmp(params->fingerprints[i], certificate->key) == 0)
			return true;
		size = parse_pin(params->fingerprints[i], pin);
		if (size == sizeof(sha256) && memcmp(pin, sha256, size) == 0)
			return true;
		if (size == sizeof(sha1) && has_sha1 &&
		    memcmp(pin, sha1, size) == 0)
			return true;
	}
	return false;
}
