/* SPDX-License-Identifier: ISC */
#include "wire/compat.h"

#include <stdbool.h>
#include <string.h>

#include <gnutls/gnutls.h>

#define NO_ALERT -1
#define DH_BITS 2048 /* RFC 9325, section 4.5 */

static const struct preset {
	const char *name;
	const char *priorities;
	unsigned int dh_bits; /* of a prime at least; 0: as always */
} presets[] = {
    {"tls1.0", "+VERS-TLS1.1:+VERS-TLS1.0:+3DES-CBC", 0},
    {"legacy-renegotiation", "%PARTIAL_RENEGOTIATION", 0},
    {"small-dh", "", 512},
    {"sha1", "+SIGN-RSA-SHA1:+SIGN-ECDSA-SHA1:%VERIFY_ALLOW_SIGN_WITH_SHA1", 0},
};

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

/* What points to which preset: an error here, or an alert from there. */
static const struct symptom {
	int error;
	int alert;
	const char *preset;
	const char *meaning;
} symptoms[] = {
    {GNUTLS_E_UNSUPPORTED_VERSION_PACKET, NO_ALERT, "tls1.0",
	"the server may know no TLS newer than 1.1"},
    {0, GNUTLS_A_PROTOCOL_VERSION, "tls1.0",
	"the server may know no TLS newer than 1.1"},
    {GNUTLS_E_UNSAFE_RENEGOTIATION_DENIED, NO_ALERT, "legacy-renegotiation",
	"the server is older than RFC 5746, and somebody in between could put "
	"words before ours"},
    {GNUTLS_E_SAFE_RENEGOTIATION_FAILED, NO_ALERT, "legacy-renegotiation",
	"the server is older than RFC 5746, and somebody in between could put "
	"words before ours"},
    {GNUTLS_E_DH_PRIME_UNACCEPTABLE, NO_ALERT, "small-dh",
	"the server's Diffie-Hellman prime is so small that others may break "
	"it"},
    {0, GNUTLS_A_HANDSHAKE_FAILURE, "sha1",
	"the server may sign by SHA-1 only"},
    {0, GNUTLS_A_INSUFFICIENT_SECURITY, "sha1",
	"the server may sign by SHA-1 only"},
    {GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM, NO_ALERT, "sha1",
	"the server signs by SHA-1"},
    {GNUTLS_E_UNWANTED_ALGORITHM, NO_ALERT, "sha1",
	"the server may sign by SHA-1 only"},
};

static bool
is_among(const char *name, const char *names)
{
	size_t n = strlen(name);

	while (names != NULL && *names != '\0') {
		size_t word = strcspn(names, " ");

		if (word == n && memcmp(names, name, n) == 0)
			return true;
		names += word;
		names += strspn(names, " ");
	}
	return false;
}

void
compat_append(const char *names, struct buf *priorities)
{
	for (size_t i = 0; i < N_OF(presets); i++)
		if (presets[i].priorities[0] != '\0' &&
		    is_among(presets[i].name, names))
			buf_printf(priorities, ":%s", presets[i].priorities);
}

void
compat_limit(struct gnutls_session_int *session, const char *names)
{
	gnutls_dh_set_prime_bits(session, DH_BITS);
	for (size_t i = 0; i < N_OF(presets); i++)
		if (presets[i].dh_bits != 0 && is_among(presets[i].name, names))
			gnutls_dh_set_prime_bits(session, presets[i].dh_bits);
}

void
compat_hint(int error, int alert, const char *names, struct err *err)
{
	for (size_t i = 0; i < N_OF(symptoms); i++) {
		const struct symptom *symptom = &symptoms[i];

		if (symptom->alert != alert ||
		    (alert == NO_ALERT && symptom->error != error) ||
		    is_among(symptom->preset, names))
			continue;
		err_hint(err, "%s; tls_compat %s goes on all the same",
		    symptom->meaning, symptom->preset);
		return;
	}
}
