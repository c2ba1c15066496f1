/* SPDX-License-Identifier: ISC */
#include "pop3/gnu.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"

#ifdef HAVE_GSASL

#include <gsasl.h>

#define SERVICE "pop" /* as IANA has it, for GSSAPI and DIGEST-MD5 */

struct gnu {
	Gsasl *library;
	Gsasl_session *session;
};

bool
gnu_has(const char *name)
{
	bool has = false;
	Gsasl *library;

	if (gsasl_init(&library) != GSASL_OK)
		return false;
	has = gsasl_client_support_p(library, name) != 0;
	gsasl_done(library);
	return has;
}

const char *
gnu_version(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "GNU SASL %s", gsasl_check_version(NULL));
	return text;
}

/* Only want of memory can make it fail. */
static bool
set(struct gnu *gnu, Gsasl_property property, const char *value)
{
	return value == NULL ||
	    gsasl_property_set(gnu->session, property, value) == GSASL_OK;
}

static bool
is_plus(enum sasl_mechanism mechanism)
{
	return mechanism == SASL_SCRAM_SHA_1_PLUS ||
	    mechanism == SASL_SCRAM_SHA_256_PLUS;
}

/* The library refuses the others when they have one. */
static bool
set_binding(struct gnu *gnu, const struct sasl_params *params)
{
	Gsasl_property property = params->binding_is_exporter
	    ? GSASL_CB_TLS_EXPORTER
	    : GSASL_CB_TLS_UNIQUE;
	char *encoded;
	bool done;

	if (!is_plus(params->mechanism) || params->binding_size == 0)
		return true;
	encoded = digest_base64(params->binding, params->binding_size);
	done = set(gnu, property, encoded);
	mem_free_secret(encoded);
	return done;
}

static bool
set_properties(struct gnu *gnu, const struct sasl_params *params)
{
	return set(gnu, GSASL_AUTHID, params->user) &&
	    set(gnu, GSASL_PASSWORD, params->secret) &&
	    set(gnu, GSASL_SERVICE, SERVICE) &&
	    set(gnu, GSASL_HOSTNAME, params->host) &&
	    (params->mechanism != SASL_GSSAPI ||
		set(gnu, GSASL_AUTHZID, params->user)) &&
	    (params->mechanism != SASL_NTLM ||
		set(gnu, GSASL_REALM, params->domain)) &&
	    set_binding(gnu, params);
}

static struct gnu *
give_up(struct gnu *gnu, const char *name, int status, struct err *err)
{
	gnu_close(gnu);
	err_set(err, ERR_CONFIG, "%s: %s", name, gsasl_strerror(status));
	return NULL;
}

struct gnu *
gnu_open(const char *name, const struct sasl_params *params, struct err *err)
{
	struct gnu *gnu = mem_zero(1, sizeof(*gnu));
	int status = gsasl_init(&gnu->library);

	if (status != GSASL_OK) {
		gnu->library = NULL;
		return give_up(gnu, name, status, err);
	}
	status = gsasl_client_start(gnu->library, name, &gnu->session);
	if (status != GSASL_OK) {
		gnu->session = NULL;
		return give_up(gnu, name, status, err);
	}
	if (!set_properties(gnu, params))
		return give_up(gnu, name, GSASL_MALLOC_ERROR, err);
	return gnu;
}

/* The library only frees what it was given or has computed. */
static void
wipe(Gsasl_session *session)
{
	static const Gsasl_property secrets[] = {GSASL_PASSWORD,
	    GSASL_SCRAM_SALTED_PASSWORD, GSASL_SCRAM_SERVERKEY,
	    GSASL_SCRAM_STOREDKEY};

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		const char *value = gsasl_property_fast(session, secrets[i]);

		/* Its own memory, which it shows to be read. */
		if (value != NULL)
			explicit_bzero((char *)(uintptr_t)value, strlen(value));
	}
}

void
gnu_close(struct gnu *gnu)
{
	if (gnu == NULL)
		return;
	if (gnu->session != NULL) {
		wipe(gnu->session);
		gsasl_finish(gnu->session);
	}
	if (gnu->library != NULL)
		gsasl_done(gnu->library);
	free(gnu);
}

static int
failed(int status, struct err *err)
{
	switch (status) {
	case GSASL_SASLPREP_ERROR:
		err_set(err, ERR_CONFIG,
		    "user or password has a character that SASL does not allow "
		    "(RFC 4013)");
		return err_hint(
		    err, "auth user sends them as they are, for use under TLS");
	case GSASL_AUTHENTICATION_ERROR:
		return err_set(err, ERR_PROTOCOL,
		    "the server does not prove that it knows the password: it "
		    "may be another one");
	case GSASL_GSSAPI_INIT_SEC_CONTEXT_ERROR:
		err_set(err, ERR_NOPERM, "no ticket for this server");
		return err_hint(err, "get one with kinit");
	case GSASL_NO_CB_TLS_EXPORTER:
	case GSASL_NO_CB_TLS_UNIQUE:
		return err_set(err, ERR_UNAVAILABLE,
		    "there is nothing to bind it to: that takes TLS 1.3, or "
		    "TLS 1.2 with the extended master secret");
	default:
		return err_set(err, ERR_PROTOCOL, "%s", gsasl_strerror(status));
	}
}

int
gnu_step(struct gnu *gnu, const struct buf *challenge, struct buf *response,
    bool *complete, struct err *err)
{
	char *out = NULL;
	size_t n = 0;
	int status =
	    gsasl_step(gnu->session, challenge->data, challenge->len, &out, &n);

	*complete = status == GSASL_OK;
	if (status == GSASL_OK || status == GSASL_NEEDS_MORE) {
		buf_room(response, n);
		buf_append(response, out, n);
	}
	if (out != NULL) {
		explicit_bzero(out, n);
		gsasl_free(out);
	}
	if (status == GSASL_OK || status == GSASL_NEEDS_MORE)
		return 0;
	return failed(status, err);
}

#else

bool
gnu_has(const char *name)
{
	(void)name;
	return false;
}

const char *
gnu_version(void)
{
	return NULL;
}

struct gnu *
gnu_open(const char *name, const struct sasl_params *params, struct err *err)
{
	(void)params;
	err_set(err, ERR_CONFIG,
	    "%s needs GNU SASL, and this poplar was built without it", name);
	return NULL;
}

void
gnu_close(struct gnu *gnu)
{
	(void)gnu;
}

int
gnu_step(struct gnu *gnu, const struct buf *challenge, struct buf *response,
    bool *complete, struct err *err)
{
	(void)gnu;
	(void)challenge;
	(void)response;
	(void)complete;
	return err_set(err, ERR_SOFTWARE, "a mechanism that is not here");
}

#endif
