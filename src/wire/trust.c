/* SPDX-License-Identifier: ISC */
#include "wire/trust.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/ocsp.h>
#include <gnutls/x509.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "wire/clientcert.h"
#include "wire/pin.h"
#include "wire/tofu.h"
#include "wire/verdict.h"

#define PATH_SHOWN_MAX 256

/* Set once before workers are forked, then only read and shared by them. */
static gnutls_certificate_credentials_t preloaded_trust;

/* What the verify callback must know, and what it found. */
struct trust {
	gnutls_session_t session;
	const struct tls_params *params;
	const char *name; /* NULL without host */
	gnutls_certificate_credentials_t credentials;
	struct err *err;
	bool accepted;
	bool refused;
	char new_key[VERDICT_KEY_SIZE]; /* to be remembered; "": none */
};

/* The certificate is judged by those who may sign, not by what it is. */
static bool
goes_by_chain(const struct tls_params *params)
{
	return params->certcheck && params->n_fingerprints == 0 &&
	    params->tofu_file == NULL;
}

/*
 * The server's certificate, seen from the verify callback
 */

static int
check_pins(struct trust *trust, const struct certificate *certificate)
{
	if (pin_matches(trust->params, certificate))
		return 0;
	verdict_refuse(
	    certificate, "it matches no tls_fingerprint", trust->err);
	verdict_hint_pin(certificate, trust->err);
	return -1;
}

static int
refuse_other_key(struct trust *trust, const struct certificate *certificate,
    const struct tofu_known *known)
{
	const char *file = trust->params->tofu_file;
	char name[PATH_SHOWN_MAX], problem[256];

	snprintf(problem, sizeof(problem),
	    "its public key is %s, but since %s the server's was %s",
	    certificate->key, known->since, known->key);
	verdict_refuse(certificate, problem, trust->err);
	return err_hint(trust->err,
	    "if you know why the key has changed, accept the new one by "
	    "removing the line of %.200s from %s",
	    trust->params->tofu_server,
	    text_escape(name, sizeof(name), file, strlen(file)));
}

static int
check_known_key(struct trust *trust, const struct certificate *certificate)
{
	struct tofu_known known;

	switch (tofu_ask(trust->params->tofu_file, trust->params->tofu_server,
	    certificate->key, &known, trust->err)) {
	case TOFU_SAME:
		return 0;
	case TOFU_UNKNOWN:
		strlcpy(
		    trust->new_key, certificate->key, sizeof(trust->new_key));
		return 0;
	case TOFU_OTHER:
		return refuse_other_key(trust, certificate, &known);
	default:
		return -1;
	}
}

/*
 * The system's certificates are many: they are read only now that a
 * certificate is there to be checked.
 */
static int
read_system_trust(struct trust *trust)
{
	if (trust->params->trust_file != NULL ||
	    trust->credentials == preloaded_trust)
		return 0;
	if (gnutls_certificate_set_x509_system_trust(trust->credentials) > 0)
		return 0;
	err_set(trust->err, ERR_PROTOCOL,
	    "this system has no certificates to trust");
	return err_hint(trust->err,
	    "install them (often a package \"ca-certificates\"), or name a "
	    "file: tls_trust_file FILE");
}

/* When it was revoked, if the OCSP response that came with it says so. */
static void
note_staple(struct trust *trust, struct certificate *certificate)
{
	unsigned int status = GNUTLS_OCSP_CERT_UNKNOWN;
	time_t revoked = 0;
	gnutls_datum_t der;
	gnutls_ocsp_resp_t response;

	if (gnutls_ocsp_status_request_get(trust->session, &der) < 0 ||
	    gnutls_ocsp_resp_init(&response) < 0)
		return;
	if (gnutls_ocsp_resp_import(response, &der) == 0 &&
	    gnutls_ocsp_resp_get_single(response, 0, NULL, NULL, NULL, NULL,
		&status, NULL, NULL, &revoked, NULL) == 0 &&
	    status == GNUTLS_OCSP_CERT_REVOKED)
		certificate->revoked = revoked;
	gnutls_ocsp_resp_deinit(response);
}

static int
check_chain(struct trust *trust, struct certificate *certificate)
{
	gnutls_typed_vdata_st purpose = {GNUTLS_DT_KEY_PURPOSE_OID,
	    (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_SERVER, 0};
	unsigned int status = GNUTLS_CERT_INVALID;
	int r;

	if (read_system_trust(trust) == -1)
		return -1;
	r = gnutls_certificate_verify_peers(
	    trust->session, &purpose, 1, &status);
	if (r < 0)
		return verdict_refuse(
		    certificate, gnutls_strerror(r), trust->err);
	note_staple(trust, certificate);
	return verdict_judge(certificate, status, trust->err);
}

static int
check_certificate(struct trust *trust, struct certificate *certificate)
{
	const gnutls_datum_t *chain = NULL;
	unsigned int n = 0;
	int r;

	if (gnutls_certificate_type_get2(trust->session, GNUTLS_CTYPE_SERVER) ==
	    GNUTLS_CRT_X509)
		chain = gnutls_certificate_get_peers(trust->session, &n);
	if (chain == NULL || n == 0)
		return err_set(trust->err, ERR_PROTOCOL,
		    "the server showed no certificate");
	r = verdict_read(certificate, chain, n, trust->name);
	if (r < 0)
		return err_set(trust->err, ERR_PROTOCOL,
		    "the server's certificate cannot be read: %s",
		    gnutls_strerror(r));
	if (trust->params->n_fingerprints > 0)
		return check_pins(trust, certificate);
	if (trust->params->tofu_file != NULL)
		return check_known_key(trust, certificate);
	return check_chain(trust, certificate);
}

static int
on_certificate(gnutls_session_t session)
{
	struct trust *trust = gnutls_session_get_ptr(session);
	struct certificate certificate = {0};

	if (!trust->params->certcheck && trust->params->n_fingerprints == 0 &&
	    trust->params->tofu_file == NULL) {
		trust->accepted = true;
		return 0;
	}
	trust->accepted = check_certificate(trust, &certificate) == 0;
	trust->refused = !trust->accepted;
	verdict_free(&certificate);
	return trust->accepted ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

/*
 * Before and after the handshake
 */

static int
read_trust_file(struct trust *trust)
{
	const char *file = trust->params->trust_file;
	struct err *err = trust->err;
	char name[PATH_SHOWN_MAX];
	int r = gnutls_certificate_set_x509_trust_file(
	    trust->credentials, file, GNUTLS_X509_FMT_PEM);

	if (r > 0)
		return 0;
	text_escape(name, sizeof(name), file, strlen(file));
	if (r == GNUTLS_E_FILE_ERROR && access(file, R_OK) == -1)
		return err_set_errno(err, ERR_CONFIG, "trust file %s", name);
	if (r == 0 || r == GNUTLS_E_NO_CERTIFICATE_FOUND ||
	    r == GNUTLS_E_BASE64_UNEXPECTED_HEADER_ERROR)
		return err_set(err, ERR_CONFIG,
		    "trust file %s has no certificate in it", name);
	return err_set(
	    err, ERR_CONFIG, "trust file %s: %s", name, gnutls_strerror(r));
}

/* Old news are better than none: refusing all mail over them would only teach
 * people to do without. */
static void
warn_of_age(const gnutls_x509_crl_t *crls, unsigned int n, const char *file)
{
	time_t now = time(NULL);
	char name[PATH_SHOWN_MAX];

	for (unsigned int i = 0; i < n; i++) {
		time_t next = gnutls_x509_crl_get_next_update(crls[i]);

		if (next == (time_t)-1 || next >= now)
			continue;
		log_say(LOG_AT_WARNING,
		    "tls_crl_file %s is out of date: a newer one exists",
		    text_escape(name, sizeof(name), file, strlen(file)));
		return;
	}
}

static int
import_crls(struct trust *trust, const gnutls_datum_t *pem)
{
	gnutls_x509_crl_t *crls;
	unsigned int n;
	int r = gnutls_x509_crl_list_import2(
	    &crls, &n, pem, GNUTLS_X509_FMT_PEM, 0);

	if (r < 0)
		return r;
	r = gnutls_certificate_set_x509_crl(trust->credentials, crls, (int)n);
	warn_of_age(crls, n, trust->params->crl_file);
	for (unsigned int i = 0; i < n; i++)
		gnutls_x509_crl_deinit(crls[i]);
	gnutls_free(crls);
	return r;
}

static int
read_crl_file(struct trust *trust)
{
	const char *file = trust->params->crl_file;
	char name[PATH_SHOWN_MAX];
	gnutls_datum_t pem;
	int r;

	text_escape(name, sizeof(name), file, strlen(file));
	r = gnutls_load_file(file, &pem);
	if (r < 0 && access(file, R_OK) == -1)
		return err_set_errno(
		    trust->err, ERR_CONFIG, "tls_crl_file %s", name);
	if (r == 0) {
		r = import_crls(trust, &pem);
		gnutls_free(pem.data);
	}
	if (r > 0)
		return 0;
	return err_set(trust->err, ERR_CONFIG, "tls_crl_file %s: %s", name,
	    r == 0 || r == GNUTLS_E_NO_CERTIFICATE_FOUND ||
		    r == GNUTLS_E_BASE64_UNEXPECTED_HEADER_ERROR
		? "there is no CRL in PEM format in it"
		: gnutls_strerror(r));
}

static int
read_files(struct trust *trust)
{
	const struct tls_params *params = trust->params;

	if (!goes_by_chain(params))
		return 0;
	if (params->trust_file != NULL && read_trust_file(trust) == -1)
		return -1;
	if (params->crl_file != NULL && read_crl_file(trust) == -1)
		return -1;
	return 0;
}

/* Credentials without certificates, unless a file is to be read. */
static int
prepare(struct trust *trust)
{
	const struct tls_params *params = trust->params;
	int r = 0;

	if (pin_check_syntax(params, trust->err) == -1)
		return -1;
	if (goes_by_chain(params) && params->trust_file == NULL &&
	    params->crl_file == NULL && params->cert_file == NULL &&
	    preloaded_trust != NULL)
		trust->credentials = preloaded_trust;
	else
		r = gnutls_certificate_allocate_credentials(
		    &trust->credentials);
	if (r < 0)
		return err_set(trust->err, ERR_OS, "%s", gnutls_strerror(r));
	if (read_files(trust) == -1 ||
	    clientcert_load(trust->credentials, params, trust->err) == -1)
		return -1;
	r = gnutls_credentials_set(
	    trust->session, GNUTLS_CRD_CERTIFICATE, trust->credentials);
	return r == 0 ? 0
		      : err_set(trust->err, ERR_OS, "%s", gnutls_strerror(r));
}

struct trust *
trust_open(struct gnutls_session_int *session, const struct tls_params *params,
    const char *name, struct err *err)
{
	struct trust *trust = mem_zero(1, sizeof(*trust));

	trust->session = session;
	trust->params = params;
	trust->name = name;
	trust->err = err;
	if (prepare(trust) == -1) {
		trust_close(trust);
		return NULL;
	}
	gnutls_session_set_ptr(session, trust);
	gnutls_session_set_verify_function(session, on_certificate);
	return trust;
}

bool
trust_has_refused(const struct trust *trust)
{
	return trust->refused;
}

/* Only now has the server shown that the key is its own. */
static int
remember_key(const struct trust *trust)
{
	const struct tls_params *params = trust->params;

	if (params->tofu_look_only) {
		log_say(LOG_AT_NOTICE,
		    "tls: the key of %.200s is new: %s (not remembered)",
		    params->tofu_server, trust->new_key);
		return 0;
	}
	if (tofu_remember(params->tofu_file, params->tofu_server,
		trust->new_key, trust->err) == -1)
		return -1;
	log_say(LOG_AT_NOTICE,
	    "tls: the key of %.200s is remembered at first sight: %s",
	    params->tofu_server, trust->new_key);
	return 0;
}

/* No way is known past the callback; none must ever be found. */
int
trust_conclude(const struct trust *trust)
{
	if (!trust->accepted)
		return err_set(trust->err, ERR_PROTOCOL,
		    "TLS handshake: the server showed no certificate");
	if (trust->new_key[0] != '\0')
		return remember_key(trust);
	return 0;
}

void
trust_close(struct trust *trust)
{
	if (trust == NULL)
		return;
	gnutls_session_set_ptr(trust->session, NULL);
	gnutls_credentials_clear(trust->session);
	/* What was trusted is megabytes, and not needed any more. */
	if (trust->credentials != NULL && trust->credentials != preloaded_trust)
		gnutls_certificate_free_credentials(trust->credentials);
	free(trust);
}

void
trust_preload_system(void)
{
	gnutls_certificate_credentials_t trust;

	digest_start_library();
	if (preloaded_trust != NULL ||
	    gnutls_certificate_allocate_credentials(&trust) < 0)
		return;
	if (gnutls_certificate_set_x509_system_trust(trust) > 0)
		preloaded_trust = trust;
	else
		gnutls_certificate_free_credentials(trust);
}
