/* SPDX-License-Identifier: ISC */
#include "wire/trust.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/text.h"
#include "wire/name.h"

#define SHA1_SIZE 20
#define FINGERPRINT_SIZE (3 * DIGEST_SHA256_SIZE)
#define SHOWN_NAMES_MAX 5
#define NAME_SHOWN_MAX 128
#define PATH_SHOWN_MAX 256
#define DATE_SIZE 32

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
};

struct certificate {
	gnutls_x509_crt_t x509;
	const gnutls_datum_t *chain; /* as it was sent, this one first */
	unsigned int n_chain;
	char fingerprint[FINGERPRINT_SIZE];
};

static const struct problem {
	unsigned int status;
	const char *text;
} chain_problems[] = {
    {GNUTLS_CERT_REVOKED, "it has been revoked"},
    {GNUTLS_CERT_INSECURE_ALGORITHM,
	"it, or its issuer, is signed by an insecure algorithm"},
    {GNUTLS_CERT_SIGNER_NOT_CA, "its issuer is no certificate authority"},
    {GNUTLS_CERT_SIGNATURE_FAILURE, "its signature is wrong"},
    {GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE,
	"its issuer may not sign this name"},
    {GNUTLS_CERT_PURPOSE_MISMATCH, "it is not meant for servers"},
    {GNUTLS_CERT_MISSING_OCSP_STATUS,
	"it must come with its revocation status, but did not"},
    {GNUTLS_CERT_INVALID_OCSP_STATUS,
	"the revocation status that came with it is invalid"},
    {GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED,
	"the revocation status that came with it is outdated"},
    {GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE,
	"the revocation status that came with it is from the future"},
};

#define N_CHAIN_PROBLEMS (sizeof(chain_problems) / sizeof(chain_problems[0]))

/*
 * Names and text
 */

static void
append_escaped(struct buf *dst, const void *src, size_t n)
{
	char text[NAME_SHOWN_MAX];

	buf_puts(dst, text_escape(text, sizeof(text), src, n));
}

/* Problems follow each other; the caller appends the text. */
static struct buf *
next_problem(struct buf *problems)
{
	if (problems->len > 0)
		buf_puts(problems, "; ");
	return problems;
}

static void
append_datum(struct buf *dst, int r, gnutls_datum_t *datum)
{
	if (r < 0) {
		buf_puts(dst, "?");
		return;
	}
	append_escaped(dst, datum->data, datum->size);
	gnutls_free(datum->data);
}

static const char *
date(char dst[DATE_SIZE], time_t when)
{
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL ||
	    strftime(dst, DATE_SIZE, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		strlcpy(dst, "?", DATE_SIZE);
	return dst;
}

static void
append_alternative_name(
    struct buf *dst, int type, const void *name, size_t size)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (type != GNUTLS_SAN_IPADDRESS) {
		append_escaped(dst, name, size);
		return;
	}
	if (size == sizeof(struct in_addr))
		inet_ntop(AF_INET, name, text, sizeof(text));
	else if (size == sizeof(struct in6_addr))
		inet_ntop(AF_INET6, name, text, sizeof(text));
	buf_puts(dst, text);
}

/* The first few hosts that a certificate is for; their number. */
static unsigned int
append_names(struct buf *dst, gnutls_x509_crt_t x509)
{
	char name[256];
	size_t size = sizeof(name);
	unsigned int shown = 0;
	int type = 0;

	for (unsigned int i = 0; shown < SHOWN_NAMES_MAX; i++) {
		size = sizeof(name);
		type = gnutls_x509_crt_get_subject_alt_name(
		    x509, i, name, &size, NULL);
		if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (type != GNUTLS_SAN_DNSNAME && type != GNUTLS_SAN_IPADDRESS)
			continue;
		buf_puts(dst, shown++ > 0 ? ", " : "");
		append_alternative_name(dst, type, name, size);
	}
	if (shown == SHOWN_NAMES_MAX)
		buf_puts(dst, ", ...");
	size = sizeof(name);
	if (shown == 0 &&
	    gnutls_x509_crt_get_dn_by_oid(
		x509, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size) == 0) {
		append_escaped(dst, name, size);
		shown++;
	}
	return shown;
}

/*
 * Fingerprints
 */

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

static int
check_pin_syntax(const struct tls_params *params, struct err *err)
{
	unsigned char pin[DIGEST_SHA256_SIZE];
	char text[NAME_SHOWN_MAX];

	for (size_t i = 0; i < params->n_fingerprints; i++) {
		const char *s = params->fingerprints[i];

		if (parse_pin(s, pin) > 0)
			continue;
		text_escape(text, sizeof(text), s, strlen(s));
		return err_set(err, ERR_CONFIG,
		    "\"%s\" is no fingerprint: 64 hexadecimal digits (SHA-256) "
		    "or 40 (SHA-1) are needed",
		    text);
	}
	return 0;
}

static bool
is_pinned(const struct tls_params *params, const gnutls_datum_t *der)
{
	unsigned char sha256[DIGEST_SHA256_SIZE] = {0}, sha1[SHA1_SIZE] = {0};
	unsigned char pin[DIGEST_SHA256_SIZE];
	size_t size = sizeof(sha1);
	bool has_sha1;

	digest_sha256(der->data, der->size, sha256);
	has_sha1 = gnutls_fingerprint(GNUTLS_DIG_SHA1, der, sha1, &size) == 0;
	for (size_t i = 0; i < params->n_fingerprints; i++) {
		size = parse_pin(params->fingerprints[i], pin);
		if (size == sizeof(sha256) && memcmp(pin, sha256, size) == 0)
			return true;
		if (size == sizeof(sha1) && has_sha1 &&
		    memcmp(pin, sha1, size) == 0)
			return true;
	}
	return false;
}

static void
set_fingerprint(struct certificate *certificate)
{
	unsigned char sha256[DIGEST_SHA256_SIZE];
	char *out = certificate->fingerprint;

	digest_sha256(
	    certificate->chain[0].data, certificate->chain[0].size, sha256);
	for (size_t i = 0; i < sizeof(sha256); i++)
		snprintf(out + 3 * i, 4,
		    i + 1 < sizeof(sha256) ? "%02X:" : "%02X", sha256[i]);
}

/*
 * The server's certificate, seen from the verify callback
 */

static int
refuse(struct trust *trust, const struct certificate *certificate,
    const char *problems)
{
	char from[DATE_SIZE], to[DATE_SIZE], host[NAME_SHOWN_MAX];
	gnutls_x509_crt_t x509 = certificate->x509;
	const char *name = trust->name != NULL ? trust->name : "?";
	struct buf subject = {0};
	gnutls_datum_t dn;

	text_escape(host, sizeof(host), name, strlen(name));
	append_datum(&subject, gnutls_x509_crt_get_dn3(x509, &dn, 0), &dn);
	err_set(trust->err, ERR_PROTOCOL,
	    "the certificate of %s is refused: %s (subject \"%s\", valid from "
	    "%s to %s, SHA-256 %s)",
	    host, problems, buf_string(&subject),
	    date(from, gnutls_x509_crt_get_activation_time(x509)),
	    date(to, gnutls_x509_crt_get_expiration_time(x509)),
	    certificate->fingerprint);
	buf_free(&subject);
	return -1;
}

static void
hint_pin(struct err *err, const struct certificate *certificate)
{
	err_hint(err,
	    "if you have compared this fingerprint with the real one, pin it: "
	    "tls_fingerprint %s",
	    certificate->fingerprint);
}

static int
check_pins(struct trust *trust, const struct certificate *certificate)
{
	if (is_pinned(trust->params, &certificate->chain[0]))
		return 0;
	refuse(trust, certificate, "it matches no tls_fingerprint");
	hint_pin(trust->err, certificate);
	return -1;
}

/* The library stops at an unknown issuer: look at the dates ourselves. */
static void
judge_dates(const struct certificate *certificate, unsigned int status,
    struct buf *problems)
{
	time_t now = time(NULL);
	time_t from = gnutls_x509_crt_get_activation_time(certificate->x509);
	time_t to = gnutls_x509_crt_get_expiration_time(certificate->x509);
	char text[DATE_SIZE];

	if (now > to)
		buf_printf(
		    next_problem(problems), "it expired on %s", date(text, to));
	else if ((status & GNUTLS_CERT_EXPIRED) != 0)
		buf_puts(next_problem(problems),
		    "a certificate between it and its authority has expired");
	if (now < from)
		buf_printf(next_problem(problems), "it is not valid before %s",
		    date(text, from));
	else if ((status & GNUTLS_CERT_NOT_ACTIVATED) != 0)
		buf_puts(next_problem(problems),
		    "a certificate between it and its authority is not yet "
		    "valid");
}

static bool
is_for_host(const struct trust *trust, gnutls_x509_crt_t x509)
{
	unsigned char address[sizeof(struct in6_addr)];
	size_t size;

	if (trust->name == NULL)
		return false;
	size = name_address(trust->name, address);
	if (size > 0)
		return gnutls_x509_crt_check_ip(
			   x509, address, (unsigned int)size, 0) != 0;
	return gnutls_x509_crt_check_hostname2(x509, trust->name,
		   GNUTLS_VERIFY_DO_NOT_ALLOW_IP_MATCHES) != 0;
}

static void
judge_name(const struct trust *trust, const struct certificate *certificate,
    struct buf *problems)
{
	struct buf names = {0};

	if (is_for_host(trust, certificate->x509))
		return;
	if (append_names(&names, certificate->x509) == 0)
		buf_puts(&names, "no host at all");
	buf_printf(next_problem(problems), "it is for %s", buf_string(&names));
	if (trust->name != NULL) {
		buf_puts(problems, ", not for ");
		append_escaped(problems, trust->name, strlen(trust->name));
	}
	buf_free(&names);
}

/* A root that nobody knows is not found either, but says who it is. */
static void
judge_issuer(const struct certificate *certificate, struct buf *problems)
{
	gnutls_x509_crt_t last;
	gnutls_datum_t dn;
	struct buf issuer = {0};
	int r;

	if (gnutls_x509_crt_check_issuer(
		certificate->x509, certificate->x509)) {
		buf_puts(next_problem(problems), "it is self-signed");
		return;
	}
	if (gnutls_x509_crt_init(&last) < 0)
		return;
	r = gnutls_x509_crt_import(last,
	    &certificate->chain[certificate->n_chain - 1], GNUTLS_X509_FMT_DER);
	if (r == 0)
		r = gnutls_x509_crt_get_issuer_dn3(last, &dn, 0);
	buf_puts(next_problem(problems), "its issuer \"");
	append_datum(&issuer, r, &dn);
	buf_printf(problems, "%s\" is unknown", buf_string(&issuer));
	buf_free(&issuer);
	gnutls_x509_crt_deinit(last);
}

static void
judge_chain(const struct certificate *certificate, unsigned int status,
    struct buf *problems)
{
	gnutls_datum_t text;

	if ((status & GNUTLS_CERT_SIGNER_NOT_FOUND) != 0)
		judge_issuer(certificate, problems);
	for (size_t i = 0; i < N_CHAIN_PROBLEMS; i++)
		if ((status & chain_problems[i].status) != 0)
			buf_puts(
			    next_problem(problems), chain_problems[i].text);
	if (status == 0 || problems->len > 0 ||
	    gnutls_certificate_verification_status_print(
		status, GNUTLS_CRT_X509, &text, 0) < 0)
		return;
	append_escaped(problems, text.data, text.size);
	gnutls_free(text.data);
}

/* One thing to do, for the problem that decides what helps. */
static void
hint_problem(struct trust *trust, const struct certificate *certificate,
    unsigned int status)
{
	gnutls_x509_crt_t x509 = certificate->x509;
	struct err *err = trust->err;
	time_t now = time(NULL);

	if ((status & GNUTLS_CERT_REVOKED) != 0)
		err_hint(err,
		    "do not trust this server before its operator "
		    "has explained it");
	else if (now < gnutls_x509_crt_get_activation_time(x509))
		err_hint(err, "is the clock of this machine right?");
	else if ((status & GNUTLS_CERT_SIGNER_NOT_FOUND) != 0)
		hint_pin(err, certificate);
	else if (now > gnutls_x509_crt_get_expiration_time(x509))
		err_hint(err,
		    "the server's operator must renew it; until then, if you "
		    "have compared the fingerprint: tls_fingerprint %s",
		    certificate->fingerprint);
	else if (!is_for_host(trust, x509))
		err_hint(err,
		    "if one of these names is your provider's, say "
		    "so: tls_host_override NAME");
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

static int
check_chain(struct trust *trust, const struct certificate *certificate)
{
	gnutls_typed_vdata_st purpose = {GNUTLS_DT_KEY_PURPOSE_OID,
	    (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_SERVER, 0};
	unsigned int status = GNUTLS_CERT_INVALID;
	struct buf problems = {0};
	int r;

	if (read_system_trust(trust) == -1)
		return -1;
	r = gnutls_certificate_verify_peers(
	    trust->session, &purpose, 1, &status);
	if (r < 0)
		return refuse(trust, certificate, gnutls_strerror(r));
	judge_dates(certificate, status, &problems);
	judge_name(trust, certificate, &problems);
	judge_chain(certificate,
	    status &
		~(unsigned int)(GNUTLS_CERT_EXPIRED |
		    GNUTLS_CERT_NOT_ACTIVATED),
	    &problems);
	if (status == 0 && problems.len == 0)
		return 0;
	refuse(trust, certificate, buf_string(&problems));
	hint_problem(trust, certificate, status);
	buf_free(&problems);
	return -1;
}

static int
check_certificate(struct trust *trust, struct certificate *certificate)
{
	gnutls_session_t session = trust->session;
	int r;

	if (gnutls_certificate_type_get2(session, GNUTLS_CTYPE_SERVER) ==
	    GNUTLS_CRT_X509)
		certificate->chain = gnutls_certificate_get_peers(
		    session, &certificate->n_chain);
	if (certificate->chain == NULL || certificate->n_chain == 0)
		return err_set(trust->err, ERR_PROTOCOL,
		    "the server showed no certificate");
	r = gnutls_x509_crt_import(
	    certificate->x509, &certificate->chain[0], GNUTLS_X509_FMT_DER);
	if (r < 0)
		return err_set(trust->err, ERR_PROTOCOL,
		    "the server's certificate cannot be read: %s",
		    gnutls_strerror(r));
	set_fingerprint(certificate);
	if (trust->params->n_fingerprints > 0)
		return check_pins(trust, certificate);
	return check_chain(trust, certificate);
}

static int
on_certificate(gnutls_session_t session)
{
	struct trust *trust = gnutls_session_get_ptr(session);
	struct certificate certificate = {0};

	if (trust->params->n_fingerprints == 0 && !trust->params->certcheck) {
		trust->accepted = true;
		return 0;
	}
	if (gnutls_x509_crt_init(&certificate.x509) < 0)
		return GNUTLS_E_MEMORY_ERROR;
	trust->accepted = check_certificate(trust, &certificate) == 0;
	trust->refused = !trust->accepted;
	gnutls_x509_crt_deinit(certificate.x509);
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

/* Credentials without certificates, unless a file is to be read. */
static int
prepare(struct trust *trust)
{
	const struct tls_params *params = trust->params;
	bool by_chain = params->certcheck && params->n_fingerprints == 0;
	int r;

	if (check_pin_syntax(params, trust->err) == -1)
		return -1;
	if (by_chain && params->trust_file == NULL && preloaded_trust != NULL) {
		trust->credentials = preloaded_trust;
	} else {
		r = gnutls_certificate_allocate_credentials(
		    &trust->credentials);
		if (r < 0)
			return err_set(
			    trust->err, ERR_OS, "%s", gnutls_strerror(r));
	}
	if (by_chain && params->trust_file != NULL &&
	    read_trust_file(trust) == -1)
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

/* No way is known past the callback; none must ever be found. */
int
trust_conclude(const struct trust *trust)
{
	if (!trust->accepted)
		return err_set(trust->err, ERR_PROTOCOL,
		    "TLS handshake: the server showed no certificate");
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
