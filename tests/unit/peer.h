/* SPDX-License-Identifier: ISC */
/* The other end of a connection, and certificates for it, made on the spot. */
#ifndef TESTS_UNIT_PEER_H
#define TESTS_UNIT_PEER_H

#include <arpa/inet.h>
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#define PEER_DAY 86400
#define PEER_PATIENCE 20 /* seconds; then it is killed, and the test fails */
#define PEER_REFUSED 9	 /* exit status: the handshake failed */

struct peer_cert {
	gnutls_x509_crt_t crt;
	gnutls_x509_privkey_t key;
};

struct peer_spec {
	const char *cn;
	const char *dns;
	const char *ip;
	int from; /* days from now */
	int to;
	bool ca;
	gnutls_digest_algorithm_t hash; /* 0: SHA-256 */
	const char *purpose;		/* an OID */
	const struct peer_cert *issuer; /* NULL: itself */
};

struct peer {
	int fd; /* our end */
	pid_t pid;
};

/* What it does on its end; session is NULL without TLS. */
typedef void peer_serve(gnutls_session_t session, int fd);

static void
peer_must(int r)
{
	if (r < 0)
		errx(1, "GnuTLS: %s", gnutls_strerror(r));
}

__attribute__((unused)) static struct peer_cert
peer_make(const struct peer_spec *spec)
{
	static unsigned char serial;
	struct peer_cert cert;
	const struct peer_cert *issuer;
	unsigned char address[16];
	time_t now = time(NULL);

	peer_must(gnutls_x509_privkey_init(&cert.key));
	peer_must(
	    gnutls_x509_privkey_generate(cert.key, GNUTLS_PK_ECDSA, 256, 0));
	peer_must(gnutls_x509_crt_init(&cert.crt));
	peer_must(gnutls_x509_crt_set_version(cert.crt, 3));
	serial++;
	peer_must(gnutls_x509_crt_set_serial(cert.crt, &serial, 1));
	peer_must(
	    gnutls_x509_crt_set_dn_by_oid(cert.crt, GNUTLS_OID_X520_COMMON_NAME,
		0, spec->cn, (unsigned int)strlen(spec->cn)));
	peer_must(gnutls_x509_crt_set_activation_time(
	    cert.crt, now + (time_t)spec->from * PEER_DAY));
	peer_must(gnutls_x509_crt_set_expiration_time(
	    cert.crt, now + (time_t)spec->to * PEER_DAY));
	peer_must(gnutls_x509_crt_set_key(cert.crt, cert.key));
	peer_must(
	    gnutls_x509_crt_set_basic_constraints(cert.crt, spec->ca, -1));
	if (spec->dns != NULL)
		peer_must(gnutls_x509_crt_set_subject_alt_name(cert.crt,
		    GNUTLS_SAN_DNSNAME, spec->dns,
		    (unsigned int)strlen(spec->dns), GNUTLS_FSAN_APPEND));
	if (spec->ip != NULL) {
		bool v6 = inet_pton(AF_INET6, spec->ip, address) == 1;

		if (!v6)
			inet_pton(AF_INET, spec->ip, address);
		peer_must(gnutls_x509_crt_set_subject_alt_name(cert.crt,
		    GNUTLS_SAN_IPADDRESS, address, v6 ? 16 : 4,
		    GNUTLS_FSAN_APPEND));
	}
	if (spec->purpose != NULL)
		peer_must(gnutls_x509_crt_set_key_purpose_oid(
		    cert.crt, spec->purpose, 0));
	issuer = spec->issuer != NULL ? spec->issuer : &cert;
	peer_must(gnutls_x509_crt_sign2(cert.crt, issuer->crt, issuer->key,
	    spec->hash != 0 ? spec->hash : GNUTLS_DIG_SHA256, 0));
	return cert;
}

__attribute__((unused)) static void
peer_cert_free(struct peer_cert *cert)
{
	gnutls_x509_crt_deinit(cert->crt);
	gnutls_x509_privkey_deinit(cert->key);
}

/* A file in the directory for temporary ones; the caller removes it. */
__attribute__((unused)) static void
peer_write_file(char *path, size_t size, const void *data, size_t n)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	snprintf(
	    path, size, "%s/poplar-test-XXXXXX", dir != NULL ? dir : "/tmp");
	fd = mkstemp(path);
	if (fd == -1 || write(fd, data, n) != (ssize_t)n)
		err(1, "%s", path);
	close(fd);
}

__attribute__((unused)) static void
peer_write_cert(char *path, size_t size, const struct peer_cert *cert)
{
	gnutls_datum_t pem;

	peer_must(
	    gnutls_x509_crt_export2(cert->crt, GNUTLS_X509_FMT_PEM, &pem));
	peer_write_file(path, size, pem.data, pem.size);
	gnutls_free(pem.data);
}

static struct peer
peer_fork(int *end)
{
	struct peer peer;
	int ends[2];

	fflush(stdout);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == -1)
		err(1, "socketpair");
	peer.pid = fork();
	if (peer.pid == -1)
		err(1, "fork");
	if (peer.pid == 0) {
		close(ends[0]);
		alarm(PEER_PATIENCE);
		*end = ends[1];
	} else
		close(ends[1]);
	peer.fd = ends[0];
	return peer;
}

/* A process that serves in the clear. */
__attribute__((unused)) static struct peer
peer_start(peer_serve *serve)
{
	int end;
	struct peer peer = peer_fork(&end);

	if (peer.pid == 0) {
		serve(NULL, end);
		_exit(0);
	}
	return peer;
}

/* Shakes hands as a server; exits when that fails. */
__attribute__((unused)) static gnutls_session_t
peer_accept(int fd, const struct peer_cert *cert, const char *priorities)
{
	gnutls_certificate_credentials_t credentials;
	gnutls_session_t session;
	gnutls_x509_crt_t chain[1] = {cert->crt};
	int r;

	peer_must(gnutls_certificate_allocate_credentials(&credentials));
	peer_must(
	    gnutls_certificate_set_x509_key(credentials, chain, 1, cert->key));
	peer_must(gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NO_SIGNAL));
	peer_must(gnutls_priority_set_direct(
	    session, priorities != NULL ? priorities : "NORMAL", NULL));
	peer_must(gnutls_credentials_set(
	    session, GNUTLS_CRD_CERTIFICATE, credentials));
	gnutls_transport_set_int(session, fd);
	do
		r = gnutls_handshake(session);
	while (r < 0 && !gnutls_error_is_fatal(r));
	if (r < 0) {
		gnutls_alert_send_appropriate(session, r);
		_exit(PEER_REFUSED);
	}
	return session;
}

/* A process that serves over TLS from the first byte. */
__attribute__((unused)) static struct peer
peer_start_tls(
    const struct peer_cert *cert, const char *priorities, peer_serve *serve)
{
	int end;
	struct peer peer = peer_fork(&end);

	if (peer.pid == 0) {
		serve(peer_accept(end, cert, priorities), end);
		_exit(0);
	}
	return peer;
}

/* Its exit status, -1 if it was killed. */
__attribute__((unused)) static int
peer_end(const struct peer *peer)
{
	int status;

	if (waitpid(peer->pid, &status, 0) != peer->pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

#endif
