/* SPDX-License-Identifier: ISC */
#include "wire/verdict.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "wire/name.h"

#define SHOWN_NAMES_MAX 5
#define NAME_SHOWN_MAX 128
#define DATE_SIZE 32

static const struct problem {
	unsigned int status;
	const char *text;
} chain_problems[] = {
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

static void
set_fingerprint(struct certificate *certificate)
{
	const gnutls_datum_t *der = certificate->chain;
	unsigned char sha256[DIGEST_SHA256_SIZE];
	char *out = certificate->fingerprint;

	digest_sha256(der->data, der->size, sha256);
	for (size_t i = 0; i < sizeof(sha256); i++)
		snprintf(out + 3 * i, 4,
		    i + 1 < sizeof(sha256) ? "%02X:" : "%02X", sha256[i]);
}

/* Over its SubjectPublicKeyInfo, as in RFC 7469. */
static int
set_key(struct certificate *certificate)
{
	unsigned char sha256[DIGEST_SHA256_SIZE];
	size_t size = sizeof(sha256);
	char *base64;
	int r = gnutls_x509_crt_get_key_id(
	    certificate->x509, GNUTLS_KEYID_USE_SHA256, sha256, &size);

	if (r < 0)
		return r;
	base64 = digest_base64(sha256, size);
	snprintf(
	    certificate->key, sizeof(certificate->key), "sha256/%s", base64);
	free(base64);
	return 0;
}

int
verdict_refuse(const struct certificate *certificate, const char *problems,
    struct err *err)
{
	char from[DATE_SIZE], to[DATE_SIZE], host[NAME_SHOWN_MAX];
	gnutls_x509_crt_t x509 = certificate->x509;
	const char *name = certificate->name != NULL ? certificate->name : "?";
	struct buf subject = {0};
	gnutls_datum_t dn;

	text_escape(host, sizeof(host), name, strlen(name));
	append_datum(&subject, gnutls_x509_crt_get_dn3(x509, &dn, 0), &dn);
	err_set(err, ERR_PROTOCOL,
	    "the certificate of %s is refused: %s (subject \"%s\", valid from "
	    "%s to %s, SHA-256 %s)",
	    host, problems, buf_string(&subject),
	    date(from, gnutls_x509_crt_get_activation_time(x509)),
	    date(to, gnutls_x509_crt_get_expiration_time(x509)),
	    certificate->fingerprint);
	buf_free(&subject);
	return -1;
}

void
verdict_hint_pin(const struct certificate *certificate, struct err *err)
{
	err_hint(err,
	    "if you have compared this fingerprint with the real one, pin it: "
	    "tls_fingerprint %s; or its key, which may outlive it: "
	    "tls_fingerprint %s",
	    certificate->fingerprint, certificate->key);
}

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
is_for_host(const struct certificate *certificate)
{
	unsigned char address[sizeof(struct in6_addr)];
	size_t size;

	if (certificate->name == NULL)
		return false;
	size = name_address(certificate->name, address);
	if (size > 0)
		return gnutls_x509_crt_check_ip(certificate->x509, address,
			   (unsigned int)size, 0) != 0;
	return gnutls_x509_crt_check_hostname2(certificate->x509,
		   certificate->name,
		   GNUTLS_VERIFY_DO_NOT_ALLOW_IP_MATCHES) != 0;
}

static void
judge_name(const struct certificate *certificate, struct buf *problems)
{
	struct buf names = {0};

	if (is_for_host(certificate))
		return;
	if (append_names(&names, certificate->x509) == 0)
		buf_puts(&names, "no host at all");
	buf_printf(next_problem(problems), "it is for %s", buf_string(&names));
	if (certificate->name != NULL) {
		buf_puts(problems, ", not for ");
		append_escaped(
		    problems, certificate->name, strlen(certificate->name));
	}
	buf_free(&names);
}

/* A root that nobody knows is not found either, but says who it is. */
static void
judge_issuer(const struct certificate *certificate, struct buf *problems)
{
	const gnutls_datum_t *chain = certificate->chain;
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
	r = gnutls_x509_crt_import(
	    last, &chain[certificate->n_chain - 1], GNUTLS_X509_FMT_DER);
	if (r == 0)
		r = gnutls_x509_crt_get_issuer_dn3(last, &dn, 0);
	buf_puts(next_problem(problems), "its issuer \"");
	append_datum(&issuer, r, &dn);
	buf_printf(problems, "%s\" is unknown", buf_string(&issuer));
	buf_free(&issuer);
	gnutls_x509_crt_deinit(last);
}

static void
judge_revocation(const struct certificate *certificate, struct buf *problems)
{
	char text[DATE_SIZE];

	if (certificate->revoked != 0)
		buf_printf(next_problem(problems),
		    "it was revoked on %s, says the OCSP response that came "
		    "with it",
		    date(text, certificate->revoked));
	else
		buf_puts(next_problem(problems),
		    "it, or its issuer, has been revoked");
}

static void
judge_chain(const struct certificate *certificate, unsigned int status,
    struct buf *problems)
{
	gnutls_datum_t text;

	if ((status & GNUTLS_CERT_SIGNER_NOT_FOUND) != 0)
		judge_issuer(certificate, problems);
	if ((status & GNUTLS_CERT_REVOKED) != 0)
		judge_revocation(certificate, problems);
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

static bool
is_signed_by_sha1(const struct certificate *certificate)
{
	int algorithm =
	    gnutls_x509_crt_get_signature_algorithm(certificate->x509);

	return algorithm >= 0 &&
	    gnutls_sign_get_hash_algorithm(
		(gnutls_sign_algorithm_t)algorithm) == GNUTLS_DIG_SHA1;
}

/* One thing to do, for the problem that decides what helps. */
static void
hint_problem(
    const struct certificate *certificate, unsigned int status, struct err *err)
{
	gnutls_x509_crt_t x509 = certificate->x509;
	time_t now = time(NULL);

	if ((status & GNUTLS_CERT_REVOKED) != 0)
		err_hint(err,
		    "do not trust this server before its operator "
		    "has explained it");
	else if (now < gnutls_x509_crt_get_activation_time(x509))
		err_hint(err, "is the clock of this machine right?");
	else if ((status & GNUTLS_CERT_SIGNER_NOT_FOUND) != 0)
		verdict_hint_pin(certificate, err);
	else if (now > gnutls_x509_crt_get_expiration_time(x509))
		err_hint(err,
		    "the server's operator must renew it; until then, if you "
		    "have compared the fingerprint: tls_fingerprint %s",
		    certificate->fingerprint);
	else if ((status & GNUTLS_CERT_INSECURE_ALGORITHM) != 0 &&
	    is_signed_by_sha1(certificate))
		err_hint(err,
		    "it is signed by SHA-1, which others may forge; "
		    "tls_compat sha1 goes on all the same");
	else if (!is_for_host(certificate))
		err_hint(err,
		    "if one of these names is your provider's, say "
		    "so: tls_host_override NAME");
}

int
verdict_read(struct certificate *certificate, const void *chain,
    unsigned int n_chain, const char *name)
{
	const gnutls_datum_t *certificates = chain;
	int r;

	*certificate = (struct certificate){
	    .chain = chain, .n_chain = n_chain, .name = name};
	r = gnutls_x509_crt_init(&certificate->x509);
	if (r == 0)
		r = gnutls_x509_crt_import(
		    certificate->x509, &certificates[0], GNUTLS_X509_FMT_DER);
	if (r == 0) {
		set_fingerprint(certificate);
		r = set_key(certificate);
	}
	return r;
}

void
verdict_free(struct certificate *certificate)
{
	if (certificate->x509 != NULL)
		gnutls_x509_crt_deinit(certificate->x509);
	certificate->x509 = NULL;
}

/* The library stops at an unknown issuer: names and dates are looked at
 * whatever it says. */
int
verdict_judge(
    const struct certificate *certificate, unsigned int status, struct err *err)
{
	struct buf problems = {0};

	judge_dates(certificate, status, &problems);
	judge_name(certificate, &problems);
	judge_chain(certificate,
	    status &
		~(unsigned int)(GNUTLS_CERT_EXPIRED |
		    GNUTLS_CERT_NOT_ACTIVATED),
	    &problems);
	if (status == 0 && problems.len == 0)
		return 0;
	verdict_refuse(certificate, buf_string(&problems), err);
	hint_problem(certificate, status, err);
	buf_free(&problems);
	return -1;
}
