/* SPDX-License-Identifier: ISC */
#include "wire/tls.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"

#define RAW_SIZE 65536 /* several records a system call */
#define FIRST_BYTES 4
#define SHA1_SIZE 20
#define FINGERPRINT_SIZE (3 * DIGEST_SHA256_SIZE)
#define SHOWN_NAMES_MAX 5
#define NAME_SHOWN_MAX 128
#define PATH_SHOWN_MAX 256
#define DATE_SIZE 32

/* On top of what the system or the library thinks is good. */
static const char default_priorities[] = "-VERS-TLS1.0:-VERS-TLS1.1";

/* Set once before workers are forked, then only read and shared by them. */
static gnutls_certificate_credentials_t preloaded_trust;

struct tls {
	gnutls_session_t session;
	int fd;
	int error; /* errno of a failed transport */
	size_t raw_pos;
	size_t raw_len;
	size_t n_first;
	char first[FIRST_BYTES]; /* what the server said first */
	char raw[RAW_SIZE];
};

/* What the verify callback must know, and what it found. */
struct handshake {
	struct tls *tls;
	const struct tls_params *params;
	char *name; /* in ASCII, no dot at its end; NULL without host */
	gnutls_certificate_credentials_t trust;
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

char *
tls_idn_to_ascii(const char *host, struct err *err)
{
	gnutls_datum_t mapped;
	char name[NAME_SHOWN_MAX], *copy;
	int r;

	for (const char *s = host;; s++) {
		if (*s == '\0')
			return mem_dup(host);
		if ((unsigned char)*s >= 0x80)
			break;
	}
	digest_start_library();
	r = gnutls_idna_map(host, (unsigned int)strlen(host), &mapped, 0);
	if (r < 0) {
		text_escape(name, sizeof(name), host, strlen(host));
		err_set(err, ERR_CONFIG, "host name \"%s\": %s", name,
		    gnutls_strerror(r));
		return NULL;
	}
	copy = mem_dup((const char *)mapped.data);
	gnutls_free(mapped.data);
	return copy;
}

/* Length of the address of an IP literal, 0 if host is a name. */
static size_t
ip_literal(const char *host, unsigned char address[sizeof(struct in6_addr)])
{
	char plain[INET6_ADDRSTRLEN];
	size_t len = strcspn(host, "%"); /* RFC 4007: fe80::1%eth0 */

	if (len >= sizeof(plain))
		return 0;
	memcpy(plain, host, len);
	plain[len] = '\0';
	if (inet_pton(AF_INET, plain, address) == 1)
		return sizeof(struct in_addr);
	if (inet_pton(AF_INET6, plain, address) == 1)
		return sizeof(struct in6_addr);
	return 0;
}

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
refuse(struct handshake *handshake, const struct certificate *certificate,
    const char *problems)
{
	char from[DATE_SIZE], to[DATE_SIZE], host[NAME_SHOWN_MAX];
	gnutls_x509_crt_t x509 = certificate->x509;
	const char *name = handshake->name != NULL ? handshake->name : "?";
	struct buf subject = {0};
	gnutls_datum_t dn;

	text_escape(host, sizeof(host), name, strlen(name));
	append_datum(&subject, gnutls_x509_crt_get_dn3(x509, &dn, 0), &dn);
	err_set(handshake->err, ERR_PROTOCOL,
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
check_pins(struct handshake *handshake, const struct certificate *certificate)
{
	if (is_pinned(handshake->params, &certificate->chain[0]))
		return 0;
	refuse(handshake, certificate, "it matches no tls_fingerprint");
	hint_pin(handshake->err, certificate);
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
is_for_host(const struct handshake *handshake, gnutls_x509_crt_t x509)
{
	unsigned char address[sizeof(struct in6_addr)];
	size_t size;

	if (handshake->name == NULL)
		return false;
	size = ip_literal(handshake->name, address);
	if (size > 0)
		return gnutls_x509_crt_check_ip(
			   x509, address, (unsigned int)size, 0) != 0;
	return gnutls_x509_crt_check_hostname2(x509, handshake->name,
		   GNUTLS_VERIFY_DO_NOT_ALLOW_IP_MATCHES) != 0;
}

static void
judge_name(const struct handshake *handshake,
    const struct certificate *certificate, struct buf *problems)
{
	struct buf names = {0};

	if (is_for_host(handshake, certificate->x509))
		return;
	if (append_names(&names, certificate->x509) == 0)
		buf_puts(&names, "no host at all");
	buf_printf(next_problem(problems), "it is for %s", buf_string(&names));
	if (handshake->name != NULL) {
		buf_puts(problems, ", not for ");
		append_escaped(
		    problems, handshake->name, strlen(handshake->name));
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
hint_problem(struct handshake *handshake, const struct certificate *certificate,
    unsigned int status)
{
	gnutls_x509_crt_t x509 = certificate->x509;
	struct err *err = handshake->err;
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
	else if (!is_for_host(handshake, x509))
		err_hint(err,
		    "if one of these names is your provider's, say "
		    "so: tls_host_override NAME");
}

/*
 * The system's certificates are many: they are read only now that a
 * certificate is there to be checked.
 */
static int
read_system_trust(struct handshake *handshake)
{
	if (handshake->params->trust_file != NULL ||
	    handshake->trust == preloaded_trust)
		return 0;
	if (gnutls_certificate_set_x509_system_trust(handshake->trust) > 0)
		return 0;
	err_set(handshake->err, ERR_PROTOCOL,
	    "this system has no certificates to trust");
	return err_hint(handshake->err,
	    "install them (often a package \"ca-certificates\"), or name a "
	    "file: tls_trust_file FILE");
}

static int
check_chain(struct handshake *handshake, const struct certificate *certificate)
{
	gnutls_typed_vdata_st purpose = {GNUTLS_DT_KEY_PURPOSE_OID,
	    (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_SERVER, 0};
	unsigned int status = GNUTLS_CERT_INVALID;
	struct buf problems = {0};
	int r;

	if (read_system_trust(handshake) == -1)
		return -1;
	r = gnutls_certificate_verify_peers(
	    handshake->tls->session, &purpose, 1, &status);
	if (r < 0)
		return refuse(handshake, certificate, gnutls_strerror(r));
	judge_dates(certificate, status, &problems);
	judge_name(handshake, certificate, &problems);
	judge_chain(certificate,
	    status &
		~(unsigned int)(GNUTLS_CERT_EXPIRED |
		    GNUTLS_CERT_NOT_ACTIVATED),
	    &problems);
	if (status == 0 && problems.len == 0)
		return 0;
	refuse(handshake, certificate, buf_string(&problems));
	hint_problem(handshake, certificate, status);
	buf_free(&problems);
	return -1;
}

static int
check_certificate(struct handshake *handshake, struct certificate *certificate)
{
	gnutls_session_t session = handshake->tls->session;
	int r;

	if (gnutls_certificate_type_get2(session, GNUTLS_CTYPE_SERVER) ==
	    GNUTLS_CRT_X509)
		certificate->chain = gnutls_certificate_get_peers(
		    session, &certificate->n_chain);
	if (certificate->chain == NULL || certificate->n_chain == 0)
		return err_set(handshake->err, ERR_PROTOCOL,
		    "the server showed no certificate");
	r = gnutls_x509_crt_import(
	    certificate->x509, &certificate->chain[0], GNUTLS_X509_FMT_DER);
	if (r < 0)
		return err_set(handshake->err, ERR_PROTOCOL,
		    "the server's certificate cannot be read: %s",
		    gnutls_strerror(r));
	set_fingerprint(certificate);
	if (handshake->params->n_fingerprints > 0)
		return check_pins(handshake, certificate);
	return check_chain(handshake, certificate);
}

static int
on_certificate(gnutls_session_t session)
{
	struct handshake *handshake = gnutls_session_get_ptr(session);
	struct certificate certificate = {0};

	if (handshake->params->n_fingerprints == 0 &&
	    !handshake->params->certcheck) {
		handshake->accepted = true;
		return 0;
	}
	if (gnutls_x509_crt_init(&certificate.x509) < 0)
		return GNUTLS_E_MEMORY_ERROR;
	handshake->accepted = check_certificate(handshake, &certificate) == 0;
	handshake->refused = !handshake->accepted;
	gnutls_x509_crt_deinit(certificate.x509);
	return handshake->accepted ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

/*
 * Transport
 */

/* A record is read in two steps, and often small: ask the system rarely. */
static ssize_t
pull(gnutls_transport_ptr_t transport, void *data, size_t n)
{
	struct tls *tls = transport;
	ssize_t got;

	if (tls->raw_pos == tls->raw_len) {
		got = recv(tls->fd, tls->raw, sizeof(tls->raw), MSG_DONTWAIT);
		if (got == -1 && errno != EAGAIN && errno != EINTR)
			tls->error = errno;
		if (got <= 0)
			return got;
		tls->raw_pos = 0;
		tls->raw_len = (size_t)got;
		for (size_t i = 0;
		     i < tls->raw_len && tls->n_first < FIRST_BYTES; i++)
			tls->first[tls->n_first++] = tls->raw[i];
	}
	if (n > tls->raw_len - tls->raw_pos)
		n = tls->raw_len - tls->raw_pos;
	memcpy(data, tls->raw + tls->raw_pos, n);
	tls->raw_pos += n;
	return (ssize_t)n;
}

static ssize_t
push(gnutls_transport_ptr_t transport, const giovec_t *iov, int n)
{
	struct tls *tls = transport;
	struct msghdr message = {.msg_iovlen = (size_t)n};
	ssize_t sent;

	/* sendmsg only reads what it gets. */
	message.msg_iov = (struct iovec *)(uintptr_t)iov;
	sent = sendmsg(tls->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent == -1 && errno != EAGAIN && errno != EINTR)
		tls->error = errno;
	return sent;
}

/*
 * Handshake
 */

static int
set_priorities(
    gnutls_session_t session, const char *priorities, struct err *err)
{
	const char *at = NULL;
	char word[NAME_SHOWN_MAX];
	int r;

	if (priorities != NULL)
		r = gnutls_priority_set_direct(session, priorities, &at);
	else
		r = gnutls_set_default_priority_append(
		    session, default_priorities, &at, 0);
	if (r == 0)
		return 0;
	if (r != GNUTLS_E_INVALID_REQUEST || at == NULL || *at == '\0')
		return err_set(err, ERR_CONFIG, "TLS priorities \"%s\": %s",
		    priorities != NULL ? priorities : default_priorities,
		    gnutls_strerror(r));
	text_escape(word, sizeof(word), at, strcspn(at, ":"));
	return err_set(err, ERR_CONFIG,
	    "TLS priorities: \"%s\" is no word that GnuTLS knows", word);
}

static int
set_server_name(gnutls_session_t session, const char *name, struct err *err)
{
	unsigned char address[sizeof(struct in6_addr)];
	char text[NAME_SHOWN_MAX];
	int r;

	if (name == NULL || ip_literal(name, address) > 0)
		return 0;
	r = gnutls_server_name_set(
	    session, GNUTLS_NAME_DNS, name, strlen(name));
	if (r == 0)
		return 0;
	text_escape(text, sizeof(text), name, strlen(name));
	return err_set(
	    err, ERR_CONFIG, "host name \"%s\": %s", text, gnutls_strerror(r));
}

static int
read_trust_file(struct handshake *handshake)
{
	const char *file = handshake->params->trust_file;
	struct err *err = handshake->err;
	char name[PATH_SHOWN_MAX];
	int r = gnutls_certificate_set_x509_trust_file(
	    handshake->trust, file, GNUTLS_X509_FMT_PEM);

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
set_trust(struct handshake *handshake)
{
	const struct tls_params *params = handshake->params;
	bool by_chain = params->certcheck && params->n_fingerprints == 0;
	int r;

	if (by_chain && params->trust_file == NULL && preloaded_trust != NULL) {
		handshake->trust = preloaded_trust;
	} else {
		r = gnutls_certificate_allocate_credentials(&handshake->trust);
		if (r < 0)
			return err_set(
			    handshake->err, ERR_OS, "%s", gnutls_strerror(r));
	}
	if (by_chain && params->trust_file != NULL &&
	    read_trust_file(handshake) == -1)
		return -1;
	r = gnutls_credentials_set(
	    handshake->tls->session, GNUTLS_CRD_CERTIFICATE, handshake->trust);
	return r == 0
	    ? 0
	    : err_set(handshake->err, ERR_OS, "%s", gnutls_strerror(r));
}

static int
set_name(struct handshake *handshake)
{
	size_t len;

	if (handshake->params->host == NULL)
		return 0;
	handshake->name =
	    tls_idn_to_ascii(handshake->params->host, handshake->err);
	if (handshake->name == NULL)
		return -1;
	/* The dot of the root is no part of a name in a certificate. */
	len = strlen(handshake->name);
	if (len > 1 && handshake->name[len - 1] == '.')
		handshake->name[len - 1] = '\0';
	return 0;
}

static int
prepare(struct handshake *handshake)
{
	const struct tls_params *params = handshake->params;
	struct tls *tls = handshake->tls;
	gnutls_session_t session;

	if (gnutls_init(&tls->session,
		GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
		    GNUTLS_NO_TICKETS) < 0)
		return err_set(
		    handshake->err, ERR_OS, "GnuTLS cannot start a session");
	session = tls->session;
	if (set_name(handshake) == -1 ||
	    check_pin_syntax(params, handshake->err) == -1 ||
	    set_priorities(session, params->priorities, handshake->err) == -1 ||
	    set_server_name(session, handshake->name, handshake->err) == -1 ||
	    set_trust(handshake) == -1)
		return -1;
	gnutls_session_set_ptr(session, handshake);
	gnutls_session_set_verify_function(session, on_certificate);
	gnutls_transport_set_ptr(session, tls);
	gnutls_transport_set_pull_function(session, pull);
	gnutls_transport_set_vec_push_function(session, push);
	return 0;
}

/* It may have spoken and hung up before it was asked. */
static bool
speaks_plain(struct tls *tls)
{
	ssize_t n;

	if (tls->n_first == 0) {
		n = recv(tls->fd, tls->first, sizeof(tls->first),
		    MSG_PEEK | MSG_DONTWAIT);
		tls->n_first = n > 0 ? (size_t)n : 0;
	}
	return tls->n_first >= 3 &&
	    (memcmp(tls->first, "+OK", 3) == 0 ||
		memcmp(tls->first, "-ER", 3) == 0);
}

static const char *
alert_name(const struct tls *tls)
{
	const char *name =
	    gnutls_alert_get_name(gnutls_alert_get(tls->session));

	return name != NULL ? name : "unknown alert";
}

/* What a failure of the library means, handshake or not. */
static const char *
reason(const struct tls *tls, int r)
{
	if ((r == GNUTLS_E_PULL_ERROR || r == GNUTLS_E_PUSH_ERROR) &&
	    tls->error != 0)
		return strerror(tls->error);
	if (r == GNUTLS_E_PREMATURE_TERMINATION)
		return "the server closed the connection";
	return gnutls_strerror(r);
}

static int
handshake_failed(struct handshake *handshake, int r)
{
	struct tls *tls = handshake->tls;
	struct err *err = handshake->err;

	/* Out of politeness: the server's log then says why. */
	if (r != GNUTLS_E_FATAL_ALERT_RECEIVED)
		gnutls_alert_send_appropriate(tls->session, r);
	if (handshake->refused)
		return -1;
	if (speaks_plain(tls)) {
		err_set(err, ERR_PROTOCOL,
		    "TLS handshake: the server speaks plain text on this port");
		return err_hint(err, "try tls_starttls on");
	}
	if (r != GNUTLS_E_FATAL_ALERT_RECEIVED)
		err_set(err, ERR_PROTOCOL, "TLS handshake: %s", reason(tls, r));
	else
		err_set(err, ERR_PROTOCOL,
		    "TLS handshake: the server refused: %s", alert_name(tls));
	if (r == GNUTLS_E_UNSUPPORTED_VERSION_PACKET ||
	    (r == GNUTLS_E_FATAL_ALERT_RECEIVED &&
		gnutls_alert_get(tls->session) == GNUTLS_A_PROTOCOL_VERSION))
		err_hint(err,
		    "the server may know no TLS newer than 1.1; "
		    "tls_priorities can allow it");
	return -1;
}

static int
wait_for_transport(struct tls *tls, int64_t until, struct err *err)
{
	short events =
	    gnutls_record_get_direction(tls->session) == 1 ? POLLOUT : POLLIN;

	if (wait_clock() >= until)
		return err_set(err, ERR_TEMPFAIL,
		    "TLS handshake: no answer from the server in time");
	if (tls_pending(tls))
		return 0;
	return wait_for_fd(tls->fd, events, until, err) == -1 ? -1 : 0;
}

static int
shake_hands(struct handshake *handshake, int64_t until)
{
	struct tls *tls = handshake->tls;
	int r;

	while ((r = gnutls_handshake(tls->session)) < 0) {
		if (gnutls_error_is_fatal(r))
			return handshake_failed(handshake, r);
		if (wait_for_transport(tls, until, handshake->err) == -1)
			return -1;
	}
	/* No way is known past the callback; none must ever be found. */
	if (!handshake->accepted)
		return err_set(handshake->err, ERR_PROTOCOL,
		    "TLS handshake: the server showed no certificate");
	return 0;
}

struct tls *
tls_open(
    int fd, const struct tls_params *params, int64_t until, struct err *err)
{
	struct handshake handshake = {.params = params, .err = err};
	struct tls *tls = mem_alloc(sizeof(*tls));
	bool done;

	digest_start_library();
	memset(tls, 0, offsetof(struct tls, raw));
	tls->fd = fd;
	handshake.tls = tls;
	done = prepare(&handshake) == 0 && shake_hands(&handshake, until) == 0;
	free(handshake.name);
	if (tls->session != NULL) {
		gnutls_session_set_ptr(tls->session, NULL);
		gnutls_credentials_clear(tls->session);
	}
	/* What was trusted is megabytes, and not needed any more. */
	if (handshake.trust != NULL && handshake.trust != preloaded_trust)
		gnutls_certificate_free_credentials(handshake.trust);
	if (done)
		return tls;
	if (tls->session != NULL)
		gnutls_deinit(tls->session);
	free(tls);
	return NULL;
}

void
tls_preload_system_trust(void)
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

/*
 * The session
 */

static int
want(const struct tls *tls)
{
	return gnutls_record_get_direction(tls->session) == 1 ? TLS_WANT_WRITE
							      : TLS_WANT_READ;
}

static int
session_failed(const struct tls *tls, int r, struct err *err)
{
	switch (r) {
	case GNUTLS_E_PREMATURE_TERMINATION:
		return err_set(err, ERR_TEMPFAIL,
		    "the server closed the connection without close_notify");
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_PUSH_ERROR:
		return err_set(err, ERR_TEMPFAIL, "the connection was lost: %s",
		    reason(tls, r));
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
		return err_set(err, ERR_PROTOCOL, "the server ended TLS: %s",
		    alert_name(tls));
	default:
		return err_set(err, ERR_PROTOCOL, "TLS: %s", reason(tls, r));
	}
}

ssize_t
tls_read(struct tls *tls, void *data, size_t n, struct err *err)
{
	ssize_t r = gnutls_record_recv(tls->session, data, n);

	if (r >= 0)
		return r;
	/* RFC 5246, section 7.2.2: a client may say no, and go on. */
	if (r == GNUTLS_E_REHANDSHAKE &&
	    gnutls_alert_send(tls->session, GNUTLS_AL_WARNING,
		GNUTLS_A_NO_RENEGOTIATION) != GNUTLS_E_AGAIN)
		return want(tls);
	if (r == GNUTLS_E_REHANDSHAKE || gnutls_error_is_fatal((int)r))
		return session_failed(tls, (int)r, err);
	return want(tls);
}

ssize_t
tls_write(struct tls *tls, const void *data, size_t n, struct err *err)
{
	ssize_t r = gnutls_record_send(tls->session, data, n);

	if (r >= 0)
		return r;
	if (gnutls_error_is_fatal((int)r))
		return session_failed(tls, (int)r, err);
	return want(tls);
}

bool
tls_pending(const struct tls *tls)
{
	return tls->raw_pos < tls->raw_len ||
	    gnutls_record_check_pending(tls->session) > 0;
}

char *
tls_describe(const struct tls *tls, char *dst, size_t size)
{
	const char *version =
	    gnutls_protocol_get_name(gnutls_protocol_get_version(tls->session));
	const char *cipher =
	    gnutls_cipher_get_name(gnutls_cipher_get(tls->session));

	snprintf(dst, size, "%s %s", version != NULL ? version : "TLS",
	    cipher != NULL ? cipher : "?");
	return dst;
}

void
tls_close(struct tls *tls)
{
	gnutls_bye(tls->session, GNUTLS_SHUT_WR);
	gnutls_deinit(tls->session);
	free(tls);
}
