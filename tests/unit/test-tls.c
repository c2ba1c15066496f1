/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <signal.h>

#include "base/digest.h"
#include "base/wait.h"
#include "peer.h"
#include "tap.h"
#include "wire/name.h"
#include "wire/tls.h"
#include "wire/trust.h"

#define PATIENCE 10000 /* ms; no test should need it */
#define HOST "mail.example.org"

static struct peer_cert ca, good;
static char ca_file[256], empty_file[256];

/* One meeting of our side and a peer. */
struct meeting {
	struct peer peer;
	struct tls *tls;
	struct err err;
	int status; /* of the peer, after meeting_end */
};

static void
meet(struct meeting *m, struct peer peer, const struct tls_params *params)
{
	m->peer = peer;
	m->err = (struct err){0};
	fcntl(peer.fd, F_SETFL, O_NONBLOCK);
	m->tls = tls_open(peer.fd, params, wait_clock() + PATIENCE, &m->err);
}

static void
part(struct meeting *m)
{
	if (m->tls != NULL)
		tls_close(m->tls);
	close(m->peer.fd);
	m->status = peer_end(&m->peer);
}

static bool
says(const struct meeting *m, const char *text)
{
	bool found = strstr(m->err.text, text) != NULL;

	if (!found)
		printf("# got: %s\n", m->err.text);
	return found;
}

static bool
hints(const struct meeting *m, const char *text)
{
	bool found = strstr(m->err.hint, text) != NULL;

	if (!found)
		printf("# got: %s\n", m->err.hint);
	return found;
}

/* Up to n bytes, waiting as the contract says; 0 at the end, -1 failed. */
static ssize_t
read_some(struct meeting *m, char *data, size_t n)
{
	int64_t until = wait_clock() + PATIENCE;
	ssize_t r;

	while ((r = tls_read(m->tls, data, n, &m->err)) < -1) {
		if (wait_clock() >= until)
			return -1;
		if (!tls_pending(m->tls))
			wait_for_fd(m->peer.fd,
			    r == TLS_WANT_READ ? POLLIN : POLLOUT, until,
			    &m->err);
	}
	return r;
}

static void
serve_bye(gnutls_session_t session, int fd)
{
	(void)fd;
	gnutls_record_send(session, "hello", 5);
	gnutls_bye(session, GNUTLS_SHUT_WR);
}

static void
serve_echo(gnutls_session_t session, int fd)
{
	char data[1000];
	ssize_t n;

	(void)fd;
	while ((n = gnutls_record_recv(session, data, sizeof(data))) > 0)
		gnutls_record_send(session, data, (size_t)n);
	_exit(n == 0 ? 0 : 1);
}

static void
serve_cut(gnutls_session_t session, int fd)
{
	(void)fd;
	gnutls_record_send(session, "hello", 5);
}

/* Of a record of 32 octets, so many. */
static void
serve_torn(gnutls_session_t session, int fd)
{
	gnutls_record_send(session, "hello", 5);
	if (write(fd, "\x17\x03\x03\0\x20half", 9) != 9)
		_exit(1);
}

static void
serve_sni(gnutls_session_t session, int fd)
{
	char name[256] = "-";
	size_t size = sizeof(name);
	unsigned int type;

	(void)fd;
	if (gnutls_server_name_get(session, name, &size, &type, 0) < 0)
		strlcpy(name, "-", sizeof(name));
	gnutls_record_send(session, name, strlen(name));
}

static void
serve_renegotiation(gnutls_session_t session, int fd)
{
	char byte;

	(void)fd;
	gnutls_rehandshake(session);
	if (gnutls_record_recv(session, &byte, 1) !=
		GNUTLS_E_WARNING_ALERT_RECEIVED ||
	    gnutls_alert_get(session) != GNUTLS_A_NO_RENEGOTIATION)
		_exit(1);
	gnutls_record_send(session, "after", 5);
	gnutls_bye(session, GNUTLS_SHUT_WR);
}

static void
serve_key_update(gnutls_session_t session, int fd)
{
	(void)fd;
	gnutls_session_key_update(session, GNUTLS_KU_PEER);
	gnutls_record_send(session, "after", 5);
	gnutls_bye(session, GNUTLS_SHUT_WR);
}

/* Small records, so that many fit into one read of the socket. */
static void
serve_many(gnutls_session_t session, int fd)
{
	(void)fd;
	for (int i = 0; i < 2000; i++)
		gnutls_record_send(session, "0123456789", 10);
	gnutls_bye(session, GNUTLS_SHUT_WR);
}

static void
serve_plain(gnutls_session_t session, int fd)
{
	char data[1000];

	(void)session;
	(void)!write(fd, "+OK ready\r\n", 11);
	while (read(fd, data, sizeof(data)) > 0)
		;
}

static void
serve_refusal(gnutls_session_t session, int fd)
{
	(void)session;
	(void)!write(fd, "-ERR too many connections\r\n", 27);
}

static void
serve_nothing(gnutls_session_t session, int fd)
{
	(void)session;
	(void)fd;
}

static void
serve_silence(gnutls_session_t session, int fd)
{
	char data[1000];

	(void)session;
	while (read(fd, data, sizeof(data)) > 0)
		;
}

static struct tls_params
trusting(void)
{
	return (struct tls_params){
	    .host = HOST, .trust_file = ca_file, .certcheck = true};
}

static void
test_good(void)
{
	struct tls_params params = trusting();
	struct meeting m;
	char text[64], data[64];

	meet(&m, peer_start_tls(&good, NULL, serve_bye), &params);
	if (!tap_ok(m.tls != NULL, "a good certificate is accepted"))
		printf("# %s\n", m.err.text);
	else {
		tls_describe(m.tls, text, sizeof(text));
		tap_ok(strncmp(text, "TLS1.3 ", 7) == 0, "TLS 1.3: %s", text);
		tls_describe(m.tls, text, 8);
		tap_is(text, "TLS1.3 ", "a description is cut to fit");
		tap_ok(read_some(&m, data, sizeof(data)) == 5 &&
			memcmp(data, "hello", 5) == 0,
		    "what it says arrives");
		tap_ok(read_some(&m, data, sizeof(data)) == 0,
		    "close_notify is the end");
	}
	part(&m);
	meet(&m, peer_start_tls(&good, NULL, serve_echo), &params);
	if (m.tls != NULL) {
		tap_ok(tls_write(m.tls, "ping", 4, &m.err) == 4, "it writes");
		tap_ok(read_some(&m, data, sizeof(data)) == 4 &&
			memcmp(data, "ping", 4) == 0,
		    "it is answered");
	}
	part(&m);
	tap_ok(m.status == 0, "closing says close_notify");
}

static void
test_names(void)
{
	static const struct {
		const char *host, *sni;
	} rows[] = {
	    {HOST, HOST},
	    {HOST ".", HOST},
	    {"b\xc3\xbc"
	     "cher.example",
		"xn--bcher-kva.example"},
	    {"127.0.0.1", "-"},
	    {"::1", "-"},
	};
	struct tls_params params = {.certcheck = false};
	struct meeting m;
	char data[256];
	ssize_t n;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		params.host = rows[i].host;
		meet(&m, peer_start_tls(&good, NULL, serve_sni), &params);
		n = m.tls != NULL ? read_some(&m, data, sizeof(data) - 1) : 0;
		data[n > 0 ? n : 0] = '\0';
		tap_is(data, rows[i].sni, "server name indication");
		part(&m);
	}
}

static void
test_idn(void)
{
	struct err err;
	char *name = name_to_ascii("mail.Example.org", &err);

	tap_is(name, "mail.Example.org", "an ASCII name is left alone");
	free(name);
	name = name_to_ascii("m\xc3\xbcller.example", &err);
	tap_is(name, "xn--mller-kva.example", "an IDN is mapped");
	free(name);
	name = name_to_ascii("\xff.example", &err);
	tap_ok(name == NULL && err.class == ERR_CONFIG,
	    "bytes that are no name: %s", err.text);
	free(name);
}

static void
cut_by(peer_serve *serve, const char *what)
{
	struct tls_params params = trusting();
	struct meeting m;
	char data[64];

	meet(&m, peer_start_tls(&good, NULL, serve), &params);
	if (tap_ok(m.tls != NULL, "handshake before the cut")) {
		read_some(&m, data, sizeof(data));
		tap_ok(read_some(&m, data, sizeof(data)) == -1 &&
			m.err.class == ERR_TEMPFAIL &&
			says(&m, "without close_notify"),
		    "%s", what);
	}
	part(&m);
}

static void
test_ends(void)
{
	struct tls_params params = trusting();
	struct meeting m;
	char data[64];

	cut_by(serve_cut, "a cut is not an end");
	cut_by(serve_torn, "nor is one inside of a record");
	meet(&m,
	    peer_start_tls(&good, "NORMAL:-VERS-TLS1.3", serve_renegotiation),
	    &params);
	if (tap_ok(m.tls != NULL, "TLS 1.2"))
		tap_ok(read_some(&m, data, sizeof(data)) == 5 &&
			memcmp(data, "after", 5) == 0,
		    "renegotiation is declined, the session goes on");
	part(&m);
	meet(&m, peer_start_tls(&good, NULL, serve_key_update), &params);
	if (m.tls != NULL)
		tap_ok(read_some(&m, data, sizeof(data)) == 5 &&
			memcmp(data, "after", 5) == 0,
		    "a key update is followed");
	part(&m);
}

static void
test_many_records(void)
{
	struct tls_params params = trusting();
	struct meeting m;
	size_t total = 0;
	char data[7];
	ssize_t n = -1;

	meet(&m, peer_start_tls(&good, NULL, serve_many), &params);
	if (m.tls != NULL)
		while ((n = read_some(&m, data, sizeof(data))) > 0)
			total += (size_t)n;
	tap_ok(n == 0 && total == 20000, "many small records");
	part(&m);
}

/* A certificate, what is said of it, and the hint. */
static void
refused(const struct peer_cert *cert, const struct tls_params *params,
    const char *text, const char *hint)
{
	struct meeting m;

	meet(&m, peer_start_tls(cert, NULL, serve_echo), params);
	tap_ok(m.tls == NULL && m.err.class == ERR_PROTOCOL && says(&m, text),
	    "refused: %s", text);
	tap_ok(hints(&m, hint), "hint: %s", hint);
	tap_ok(says(&m, "SHA-256 ") && says(&m, "subject \"CN=") &&
		says(&m, "valid from "),
	    "subject, dates and fingerprint are there");
	part(&m);
	tap_ok(m.status == PEER_REFUSED,
	    "the server never got through the handshake");
}

static void
refused_leaf(struct peer_spec spec, const char *text, const char *hint)
{
	struct tls_params params = trusting();
	struct peer_cert cert;

	if (spec.cn == NULL)
		spec.cn = HOST;
	if (spec.to == 0)
		spec.to = 10;
	cert = peer_make(&spec);
	refused(&cert, &params, text, hint);
	peer_cert_free(&cert);
}

static void
test_refused(void)
{
	struct peer_cert stranger, old_ca, no_ca;
	char path[256];
	struct tls_params params = trusting();
	struct peer_spec spec = {.cn = HOST, .dns = HOST, .to = 10};

	refused_leaf(
	    (struct peer_spec){
		.dns = HOST, .from = -20, .to = -10, .issuer = &ca},
	    "refused: it expired on 2", "operator must renew");
	refused_leaf((struct peer_spec){.dns = HOST, .from = 5, .issuer = &ca},
	    "refused: it is not valid before 2", "clock");
	refused_leaf(
	    (struct peer_spec){.dns = "other.example.org", .issuer = &ca},
	    "it is for other.example.org, not for " HOST, "tls_host_override");
	refused_leaf((struct peer_spec){.cn = "x\x1b[31m", .issuer = &ca},
	    "it is for x\\x1b[31m, not for ", "tls_host_override");
	refused_leaf((struct peer_spec){.dns = HOST}, "it is self-signed",
	    "tls_fingerprint ");
	refused_leaf((struct peer_spec){.dns = HOST, .from = -20, .to = -10},
	    "it expired on 2", "tls_fingerprint ");
	refused_leaf((struct peer_spec){.dns = HOST,
			 .issuer = &ca,
			 .purpose = GNUTLS_KP_TLS_WWW_CLIENT},
	    "it is not meant for servers", "");
	refused_leaf(
	    (struct peer_spec){
		.dns = HOST, .issuer = &ca, .hash = GNUTLS_DIG_SHA1},
	    "insecure algorithm", "");

	stranger = peer_make(
	    &(struct peer_spec){.cn = "Stranger", .to = 10, .ca = true});
	refused_leaf((struct peer_spec){.dns = HOST, .issuer = &stranger},
	    "its issuer \"CN=Stranger\" is unknown", "tls_fingerprint ");
	refused_leaf(
	    (struct peer_spec){.dns = "a.example", .issuer = &stranger},
	    "it is for a.example, not for " HOST "; its issuer",
	    "tls_fingerprint ");
	peer_cert_free(&stranger);

	old_ca = peer_make(
	    &(struct peer_spec){.cn = "Old", .from = -9, .to = -1, .ca = true});
	peer_write_cert(path, sizeof(path), &old_ca);
	params.trust_file = path;
	spec.issuer = &old_ca;
	no_ca = peer_make(&spec);
	refused(
	    &no_ca, &params, "between it and its authority has expired", "");
	unlink(path);
	peer_cert_free(&no_ca);
	peer_cert_free(&old_ca);

	params = trusting();
	params.host = NULL;
	refused(&good, &params, "it is for " HOST, "tls_host_override");
}

static void
test_system_trust(void)
{
	struct tls_params params = {.host = HOST, .certcheck = true};
	struct meeting m;

	for (int i = 0; i < 2; i++) {
		meet(&m, peer_start_tls(&good, NULL, serve_echo), &params);
		tap_ok(m.tls == NULL && m.err.class == ERR_PROTOCOL &&
			(strstr(m.err.text, "is unknown") != NULL ||
			    says(&m, "has no certificates to trust")),
		    "the system does not trust our authority (%d)", i);
		part(&m);
		trust_preload_system();
		trust_preload_system();
	}
}

static void
test_trust(void)
{
	struct tls_params params = trusting();
	struct peer_cert self;
	struct meeting m;
	char path[256];

	self =
	    peer_make(&(struct peer_spec){.cn = HOST, .dns = HOST, .to = 10});
	peer_write_cert(path, sizeof(path), &self);
	params.trust_file = path;
	meet(&m, peer_start_tls(&self, NULL, serve_echo), &params);
	if (!tap_ok(m.tls != NULL, "a self-signed one in the trust file"))
		printf("# %s\n", m.err.text);
	part(&m);
	unlink(path);
	params = (struct tls_params){.certcheck = false};
	meet(&m, peer_start_tls(&self, NULL, serve_echo), &params);
	tap_ok(m.tls != NULL, "certcheck off: anybody will do");
	part(&m);
	peer_cert_free(&self);
}

static void
test_addresses(void)
{
	struct tls_params params = trusting();
	struct peer_cert v4, v6;
	struct meeting m;

	v4 = peer_make(&(struct peer_spec){
	    .cn = "v4", .ip = "192.0.2.1", .to = 10, .issuer = &ca});
	v6 = peer_make(&(struct peer_spec){
	    .cn = "v6", .ip = "fe80::1", .to = 10, .issuer = &ca});
	params.host = "192.0.2.1";
	meet(&m, peer_start_tls(&v4, NULL, serve_echo), &params);
	tap_ok(m.tls != NULL, "an IPv4 address in the certificate");
	part(&m);
	params.host = "fe80::1%eth0";
	meet(&m, peer_start_tls(&v6, NULL, serve_echo), &params);
	tap_ok(m.tls != NULL, "an IPv6 address, the zone does not count");
	part(&m);
	params.host = "192.0.2.2";
	refused(&v4, &params, "it is for 192.0.2.1, not for 192.0.2.2",
	    "tls_host_override");
	refused(&good, &params, "it is for " HOST ", not for 192.0.2.2",
	    "tls_host_override");
	peer_cert_free(&v4);
	peer_cert_free(&v6);
}

static void
hex_of(char *out, gnutls_digest_algorithm_t hash, const char *separator)
{
	gnutls_datum_t der;
	unsigned char digest[32];
	size_t size = sizeof(digest);

	peer_must(gnutls_x509_crt_export2(good.crt, GNUTLS_X509_FMT_DER, &der));
	peer_must(gnutls_fingerprint(hash, &der, digest, &size));
	gnutls_free(der.data);
	for (size_t i = 0; i < size; i++)
		out += sprintf(out, "%s%02X", i > 0 ? separator : "",
		    (unsigned int)digest[i]);
}

static void
test_pins(void)
{
	char pin[128], wrong[65];
	const char *pins[] = {wrong, pin};
	struct tls_params params = {
	    .host = "anything.example", .certcheck = true};
	struct meeting m;
	static const struct {
		gnutls_digest_algorithm_t hash;
		const char *separator;
	} forms[] = {{GNUTLS_DIG_SHA256, ":"}, {GNUTLS_DIG_SHA256, ""},
	    {GNUTLS_DIG_SHA256, " "}, {GNUTLS_DIG_SHA1, ":"}};

	memset(wrong, 'a', 64);
	wrong[64] = '\0';
	params.fingerprints = pins;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		hex_of(pin, forms[i].hash, forms[i].separator);
		params.n_fingerprints = 2;
		meet(&m, peer_start_tls(&good, NULL, serve_echo), &params);
		tap_ok(m.tls != NULL, "the second pin fits: %s", pin);
		part(&m);
	}
	params.n_fingerprints = 1;
	hex_of(pin, GNUTLS_DIG_SHA256, ":");
	refused(&good, &params, "it matches no tls_fingerprint", pin);
	params.certcheck = false;
	refused(&good, &params, "it matches no tls_fingerprint", pin);
}

/* What is wrong before anything is sent. */
static void
misconfigured(struct tls_params params, const char *text)
{
	struct meeting m;

	meet(&m, peer_start(serve_silence), &params);
	tap_ok(m.tls == NULL && m.err.class == ERR_CONFIG && says(&m, text),
	    "rc file: %s", text);
	part(&m);
}

static void
test_misconfigured(void)
{
	const char *pins[] = {"AA:BB"};
	struct tls_params params = trusting();

	params.priorities = "NORMAL:+VERS-TLS9.9:-VERS-TLS1.0";
	misconfigured(params, "VERS-TLS9.9\" is no word");
	params = trusting();
	params.trust_file = "/nowhere/ca.pem";
	misconfigured(params, "/nowhere/ca.pem: No such file");
	params.trust_file = empty_file;
	misconfigured(params, "has no certificate in it");
	params = trusting();
	params.fingerprints = pins;
	params.n_fingerprints = 1;
	misconfigured(params, "\"AA:BB\" is no fingerprint");
	pins[0] = "0123456789012345678901234567890123456789012345678901234567"
		  "8901234";
	misconfigured(params, "is no fingerprint");
	pins[0] = "zz23456789012345678901234567890123456789012345678901234567"
		  "890123";
	misconfigured(params, "is no fingerprint");
}

/* A server that needs a preset: refused with its name, fine with it. */
static void
needs_preset(
    const struct peer_cert *cert, const char *priorities, const char *preset)
{
	struct tls_params params = trusting();
	struct meeting m;
	char both[64];

	meet(&m, peer_start_tls(cert, priorities, serve_echo), &params);
	tap_ok(
	    m.tls == NULL && m.err.class == ERR_PROTOCOL && hints(&m, preset),
	    "%s is needed: %s", preset, m.err.text);
	part(&m);
	snprintf(both, sizeof(both), "%s", preset);
	params.compat = both;
	meet(&m, peer_start_tls(cert, priorities, serve_echo), &params);
	tap_ok(m.tls != NULL, "%s is enough: %s", preset, m.err.text);
	part(&m);
	params.priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.2:%SAFE_RENEGOTIATION";
	snprintf(both, sizeof(both), "small-dh %s sha1", preset);
	meet(&m, peer_start_tls(cert, priorities, serve_echo), &params);
	tap_ok(m.tls != NULL, "... also on top of priorities: %s", m.err.text);
	part(&m);
}

static void
test_compat(void)
{
	struct peer_cert sha1;
	struct tls_params params = trusting();
	struct meeting m;

	sha1 = peer_make(&(struct peer_spec){.cn = HOST,
	    .dns = HOST,
	    .to = 10,
	    .issuer = &ca,
	    .hash = GNUTLS_DIG_SHA1});
	needs_preset(&good, "NORMAL:-VERS-ALL:+VERS-TLS1.1", "tls1.0");
	needs_preset(&good, "NORMAL:-VERS-ALL:+VERS-TLS1.0", "tls1.0");
	needs_preset(&good, "NORMAL:-VERS-TLS1.3:%DISABLE_SAFE_RENEGOTIATION",
	    "legacy-renegotiation");
	needs_preset(&sha1, NULL, "sha1");
	needs_preset(
	    &good, "NORMAL:-VERS-TLS1.3:-SIGN-ALL:+SIGN-ECDSA-SHA1", "sha1");
	params.compat = "sha1 tls1.0";
	meet(&m,
	    peer_start_tls(&good,
		"NORMAL:-VERS-TLS1.3:-SIGN-ALL:+SIGN-RSA-SHA1", serve_echo),
	    &params);
	tap_ok(m.tls == NULL && m.err.hint[0] == '\0',
	    "what is tried already is not advised");
	part(&m);
	peer_cert_free(&sha1);
}

static void
test_handshakes(void)
{
	struct tls_params params = trusting();
	struct meeting m;
	struct err err;
	int64_t before;

	meet(&m, peer_start(serve_plain), &params);
	tap_ok(m.tls == NULL && m.err.class == ERR_PROTOCOL &&
		says(&m, "speaks plain text") && hints(&m, "tls_starttls on"),
	    "a server that speaks plain text");
	part(&m);
	m.peer = peer_start(serve_refusal);
	/* Not before it has hung up. */
	m.status = peer_end(&m.peer);
	m.tls = tls_open(m.peer.fd, &params, wait_clock() + PATIENCE, &m.err);
	tap_ok(m.tls == NULL && says(&m, "speaks plain text"),
	    "one that has hung up already");
	close(m.peer.fd);
	meet(&m, peer_start(serve_nothing), &params);
	tap_ok(m.tls == NULL && m.err.class == ERR_PROTOCOL, "it hangs up: %s",
	    m.err.text);
	part(&m);
	meet(&m,
	    peer_start_tls(&good, "NORMAL:-VERS-ALL:+VERS-TLS1.1", serve_echo),
	    &params);
	tap_ok(m.tls == NULL && m.err.class == ERR_PROTOCOL &&
		hints(&m, "tls_compat tls1.0"),
	    "TLS 1.1 is too old: %s", m.err.text);
	part(&m);
	params.priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.1";
	meet(&m, peer_start_tls(&good, params.priorities, serve_echo), &params);
	tap_ok(m.tls != NULL, "but can be asked for: %s", m.err.text);
	part(&m);

	params = trusting();
	m.peer = peer_start(serve_silence);
	before = wait_clock();
	m.tls = tls_open(m.peer.fd, &params, before + 50, &err);
	tap_ok(m.tls == NULL && err.class == ERR_TEMPFAIL, "silence: %s",
	    err.text);
	tap_ok(wait_clock() - before < PATIENCE, "... ends in time");
	part(&m);
}

int
main(void)
{
	digest_start_library();
	ca = peer_make(&(struct peer_spec){
	    .cn = "Test Authority", .from = -30, .to = 30, .ca = true});
	good = peer_make(&(struct peer_spec){
	    .cn = HOST, .dns = HOST, .to = 10, .issuer = &ca});
	peer_write_cert(ca_file, sizeof(ca_file), &ca);
	peer_write_file(empty_file, sizeof(empty_file), "nothing\n", 8);
	signal(SIGPIPE, SIG_IGN);

	test_good();
	test_names();
	test_idn();
	test_ends();
	test_many_records();
	test_refused();
	test_system_trust();
	test_trust();
	test_addresses();
	test_pins();
	test_misconfigured();
	test_compat();
	test_handshakes();

	unlink(ca_file);
	unlink(empty_file);
	peer_cert_free(&ca);
	peer_cert_free(&good);
	return tap_done();
}
