/* SPDX-License-Identifier: ISC */
/* The server's side of TLS over two descriptors that do not block. */
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "text.h"
#include "tls.h"

struct tls_server {
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priorities;
	gnutls_datum_t ocsp;
	bool wants_client; /* a certificate of it */
};

struct tls {
	gnutls_session_t session;
	bool unsent; /* a record is waiting inside GnuTLS */
};

/* The library's own way would refuse what is wrong or old. */
static int
staple(gnutls_session_t session, void *server, gnutls_datum_t *response)
{
	const struct tls_server *s = server;

	(void)session;
	response->data = gnutls_malloc(s->ocsp.size);
	if (response->data == NULL)
		return GNUTLS_E_MEMORY_ERROR;
	memcpy(response->data, s->ocsp.data, s->ocsp.size);
	response->size = s->ocsp.size;
	return 0;
}

static void
load_ocsp(struct tls_server *s, const char *file)
{
	int r = gnutls_load_file(file, &s->ocsp);

	if (r < 0)
		errx(1, "%s: %s", file, gnutls_strerror(r));
	gnutls_certificate_set_ocsp_status_request_function(
	    s->credentials, staple, s);
}

static void
load_client_ca(struct tls_server *s, const char *file)
{
	int r = gnutls_certificate_set_x509_trust_file(
	    s->credentials, file, GNUTLS_X509_FMT_PEM);

	if (r <= 0)
		errx(1, "%s: no certificate", file);
	s->wants_client = true;
}

struct tls_server *
tls_load(const struct tls_files *files)
{
	const char *cert = files->cert, *key = files->key;
	struct tls_server *s = text_alloc(1, sizeof(*s));
	const char *where = NULL;
	int r;

	if (cert == NULL || key == NULL)
		errx(2, "TLS needs --tls-cert and --tls-key");
	if (gnutls_certificate_allocate_credentials(&s->credentials) < 0)
		errx(1, "memory");
	r = gnutls_certificate_set_x509_key_file(
	    s->credentials, cert, key, GNUTLS_X509_FMT_PEM);
	if (r < 0)
		errx(1, "%s, %s: %s", cert, key, gnutls_strerror(r));
	if (files->ocsp != NULL)
		load_ocsp(s, files->ocsp);
	if (files->client_ca != NULL)
		load_client_ca(s, files->client_ca);
	r = gnutls_priority_init(&s->priorities, files->priorities, &where);
	if (r < 0)
		errx(2, "TLS priorities: %s at \"%s\"", gnutls_strerror(r),
		    where == NULL ? "" : where);
	return s;
}

void
tls_unload(struct tls_server *server)
{
	if (server == NULL)
		return;
	gnutls_certificate_free_credentials(server->credentials);
	gnutls_priority_deinit(server->priorities);
	gnutls_free(server->ocsp.data);
	free(server);
}

static struct tls *
new_session(struct tls_server *server, int in, int out)
{
	struct tls *t = text_alloc(1, sizeof(*t));
	unsigned int flags = GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL;

	if (gnutls_init(&t->session, flags) < 0)
		errx(1, "memory");
	gnutls_priority_set(t->session, server->priorities);
	gnutls_credentials_set(
	    t->session, GNUTLS_CRD_CERTIFICATE, server->credentials);
	if (server->wants_client) {
		gnutls_certificate_server_set_request(
		    t->session, GNUTLS_CERT_REQUIRE);
		gnutls_session_set_verify_cert(t->session, NULL, 0);
	}
	gnutls_transport_set_int2(t->session, in, out);
	return t;
}

/* Waits for the direction GnuTLS waits for; false when the time is up. */
static bool
wait_for_wire(struct tls *t, int in, int out, int64_t deadline)
{
	bool writing = gnutls_record_get_direction(t->session) == 1;
	struct pollfd p = {
	    .fd = writing ? out : in,
	    .events = writing ? POLLOUT : POLLIN,
	};

	return poll(&p, 1, text_until(deadline)) > 0;
}

struct tls *
tls_accept(struct tls_server *server, int in, int out, int64_t deadline,
    const char **why)
{
	struct tls *t = new_session(server, in, out);
	int r;

	while ((r = gnutls_handshake(t->session)) < 0) {
		if (gnutls_error_is_fatal(r))
			break;
		if (r == GNUTLS_E_AGAIN &&
		    !wait_for_wire(t, in, out, deadline)) {
			r = GNUTLS_E_TIMEDOUT;
			break;
		}
	}
	if (r == 0)
		return t;
	gnutls_alert_send_appropriate(t->session, r);
	*why = gnutls_strerror(r);
	if (r == GNUTLS_E_FATAL_ALERT_RECEIVED)
		*why = gnutls_alert_get_name(gnutls_alert_get(t->session));
	tls_free(t);
	return NULL;
}

static ssize_t
outcome(ssize_t r)
{
	if (r >= 0)
		return r;
	return gnutls_error_is_fatal((int)r) ? TLS_FAILED : TLS_AGAIN;
}

ssize_t
tls_read(struct tls *t, void *buf, size_t size)
{
	return outcome(gnutls_record_recv(t->session, buf, size));
}

ssize_t
tls_write(struct tls *t, const void *data, size_t len)
{
	ssize_t r;

	if (t->unsent)
		r = outcome(gnutls_record_send(t->session, NULL, 0));
	else
		r = outcome(gnutls_record_send(t->session, data, len));
	t->unsent = r == TLS_AGAIN;
	return r;
}

bool
tls_pending(struct tls *t)
{
	return gnutls_record_check_pending(t->session) > 0;
}

void
tls_bye(struct tls *t, int out, int64_t deadline)
{
	while (gnutls_bye(t->session, GNUTLS_SHUT_WR) == GNUTLS_E_AGAIN)
		if (!wait_for_wire(t, out, out, deadline))
			break;
}

const char *
tls_version(struct tls *t)
{
	return gnutls_protocol_get_name(
	    gnutls_protocol_get_version(t->session));
}

size_t
tls_binding(struct tls *t, void *data, size_t size, bool *exporter)
{
	gnutls_channel_binding_t kind = GNUTLS_CB_TLS_UNIQUE;
	gnutls_datum_t binding;
	size_t n = 0;

#if GNUTLS_VERSION_NUMBER >= 0x030702
	if (gnutls_protocol_get_version(t->session) == GNUTLS_TLS1_3)
		kind = GNUTLS_CB_TLS_EXPORTER;
#endif
	*exporter = kind != GNUTLS_CB_TLS_UNIQUE;
	if (gnutls_session_channel_binding(t->session, kind, &binding) < 0)
		return 0;
	if (binding.size <= size) {
		n = binding.size;
		memcpy(data, binding.data, n);
	}
	gnutls_free(binding.data);
	return n;
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	gnutls_deinit(t->session);
	free(t);
}

void
tls_md5(const char *first, const char *second, char digest[33])
{
	unsigned char md5[16];
	gnutls_hash_hd_t hash;

	if (gnutls_hash_init(&hash, GNUTLS_DIG_MD5) < 0)
		errx(1, "this GnuTLS has no MD5");
	gnutls_hash(hash, first, strlen(first));
	gnutls_hash(hash, second, strlen(second));
	gnutls_hash_deinit(hash, md5);
	for (int i = 0; i < 16; i++)
		snprintf(digest + 2 * i, 3, "%02x", md5[i]);
}
