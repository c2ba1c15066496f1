/* SPDX-License-Identifier: ISC */
#include "wire/tls.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <gnutls/gnutls.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"
#include "wire/compat.h"
#include "wire/name.h"
#include "wire/trust.h"

#define RAW_SIZE 65536 /* several records a system call */
#define FIRST_BYTES 4
#define NAME_SHOWN_MAX 128

/* On top of what the system or the library thinks is good. */
static const char default_priorities[] =
    "-VERS-TLS1.0:-VERS-TLS1.1:%SAFE_RENEGOTIATION"
    ":-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1";

static const char wants_certificate[] =
    "the server wants a certificate of yours: tls_cert_file and tls_key_file";

struct tls {
	gnutls_session_t session;
	int fd;
	int error;   /* errno of a failed transport */
	int failure; /* of the session, as the library calls it */
	bool ended;  /* the transport has no more */
	size_t raw_pos;
	size_t raw_len;
	size_t n_first;
	char first[FIRST_BYTES]; /* what the server said first */
	char raw[RAW_SIZE];
};

struct handshake {
	struct tls *tls;
	const struct tls_params *params;
	char *name; /* in ASCII, no dot at its end; NULL without host */
	struct trust *trust;
	struct err *err;
};

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
		tls->ended = got == 0;
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
refuse_priorities(const char *text, const char *at, int r, struct err *err)
{
	char word[NAME_SHOWN_MAX];

	if (r != GNUTLS_E_INVALID_REQUEST || at == NULL || *at == '\0')
		return err_set(err, ERR_CONFIG, "TLS priorities \"%s\": %s",
		    text, gnutls_strerror(r));
	text_escape(word, sizeof(word), at, strcspn(at, ":"));
	return err_set(err, ERR_CONFIG,
	    "TLS priorities: \"%s\" is no word that GnuTLS knows", word);
}

static int
set_priorities(
    gnutls_session_t session, const struct tls_params *params, struct err *err)
{
	const char *given = params->priorities, *at = NULL;
	struct buf text = {0};
	int r, status = 0;

	buf_puts(&text, given != NULL ? given : default_priorities);
	compat_append(params->compat, &text);
	if (given != NULL)
		r = gnutls_priority_set_direct(session, buf_string(&text), &at);
	else
		r = gnutls_set_default_priority_append(
		    session, buf_string(&text), &at, 0);
	if (r < 0)
		status = refuse_priorities(buf_string(&text), at, r, err);
	compat_limit(session, params->compat);
	buf_free(&text);
	return status;
}

static int
set_server_name(gnutls_session_t session, const char *name, struct err *err)
{
	unsigned char address[sizeof(struct in6_addr)];
	char text[NAME_SHOWN_MAX];
	int r;

	if (name == NULL || name_address(name, address) > 0)
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
set_name(struct handshake *handshake)
{
	size_t len;

	if (handshake->params->host == NULL)
		return 0;
	handshake->name =
	    name_to_ascii(handshake->params->host, handshake->err);
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
	    set_priorities(session, params, handshake->err) == -1 ||
	    set_server_name(session, handshake->name, handshake->err) == -1)
		return -1;
	handshake->trust =
	    trust_open(session, params, handshake->name, handshake->err);
	if (handshake->trust == NULL)
		return -1;
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

/* An end inside of a record is for the library one that cannot be decoded. */
static bool
is_cut(const struct tls *tls, int r)
{
	return r == GNUTLS_E_PREMATURE_TERMINATION ||
	    (tls->ended && r == GNUTLS_E_UNEXPECTED_PACKET_LENGTH);
}

/* What a failure of the library means, handshake or not. */
static const char *
reason(const struct tls *tls, int r)
{
	if ((r == GNUTLS_E_PULL_ERROR || r == GNUTLS_E_PUSH_ERROR) &&
	    tls->error != 0)
		return strerror(tls->error);
	if (is_cut(tls, r))
		return "the server closed the connection";
	return gnutls_strerror(r);
}

/* TLS did not fail: nothing is there to carry it any more. */
static bool
is_lost(const struct tls *tls, int r)
{
	return is_cut(tls, r) || r == GNUTLS_E_PULL_ERROR ||
	    r == GNUTLS_E_PUSH_ERROR;
}

/* Some servers hang up where they should send an alert: who has not said a
 * word yet does not want to. */
static enum err_class
class_of_failure(const struct tls *tls, int r)
{
	return is_lost(tls, r) && tls->n_first > 0 ? ERR_TEMPFAIL
						   : ERR_PROTOCOL;
}

/* What the failure points to. */
static void
hint_failure(const struct handshake *handshake, int r)
{
	const struct tls_params *params = handshake->params;
	gnutls_session_t session = handshake->tls->session;
	int alert = r == GNUTLS_E_FATAL_ALERT_RECEIVED
	    ? (int)gnutls_alert_get(session)
	    : -1;

	if (alert != -1 && params->cert_file == NULL &&
	    gnutls_certificate_client_get_request_status(session) != 0)
		err_hint(handshake->err, "%s", wants_certificate);
	else
		compat_hint(r, alert, params->compat, handshake->err);
}

static int
handshake_failed(struct handshake *handshake, int r)
{
	struct tls *tls = handshake->tls;
	struct err *err = handshake->err;

	/* Out of politeness: the server's log then says why. */
	if (r != GNUTLS_E_FATAL_ALERT_RECEIVED)
		gnutls_alert_send_appropriate(tls->session, r);
	if (trust_has_refused(handshake->trust))
		return -1;
	if (speaks_plain(tls)) {
		err_set(err, ERR_PROTOCOL,
		    "TLS handshake: the server speaks plain text on this port");
		return err_hint(err, "try tls_starttls on");
	}
	if (r != GNUTLS_E_FATAL_ALERT_RECEIVED)
		err_set(err, class_of_failure(tls, r), "TLS handshake: %s",
		    reason(tls, r));
	else
		err_set(err, ERR_PROTOCOL,
		    "TLS handshake: the server refused: %s", alert_name(tls));
	hint_failure(handshake, r);
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
	return trust_conclude(handshake->trust);
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
	trust_close(handshake.trust);
	free(handshake.name);
	if (done)
		return tls;
	if (tls->session != NULL)
		gnutls_deinit(tls->session);
	free(tls);
	return NULL;
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
session_failed(struct tls *tls, int r, struct err *err)
{
	/* The library says only once what happened, perhaps to somebody who
	 * just had a look. */
	if (r == GNUTLS_E_INVALID_SESSION && tls->failure != 0)
		r = tls->failure;
	tls->failure = r;
	if (is_cut(tls, r))
		return err_set(err, ERR_TEMPFAIL,
		    "the server closed the connection without close_notify");
	if (is_lost(tls, r))
		return err_set(err, ERR_TEMPFAIL, "the connection was lost: %s",
		    reason(tls, r));
	if (r != GNUTLS_E_FATAL_ALERT_RECEIVED)
		return err_set(err, ERR_PROTOCOL, "TLS: %s", reason(tls, r));
	err_set(err, ERR_PROTOCOL, "the server ended TLS: %s", alert_name(tls));
	if (gnutls_alert_get(tls->session) == GNUTLS_A_CERTIFICATE_REQUIRED)
		err_hint(err, "%s", wants_certificate);
	return -1;
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

static gnutls_channel_binding_t
kind_of_binding(const struct tls *tls)
{
#if GNUTLS_VERSION_NUMBER >= 0x030702
	if (gnutls_protocol_get_version(tls->session) == GNUTLS_TLS1_3)
		return GNUTLS_CB_TLS_EXPORTER;
#endif
	return GNUTLS_CB_TLS_UNIQUE;
}

bool
tls_get_binding(const struct tls *tls, struct tls_binding *binding)
{
	gnutls_channel_binding_t kind = kind_of_binding(tls);
	gnutls_datum_t data = {NULL, 0};

	*binding =
	    (struct tls_binding){.is_exporter = kind != GNUTLS_CB_TLS_UNIQUE};
	if (!binding->is_exporter &&
	    (gnutls_protocol_get_version(tls->session) > GNUTLS_TLS1_2 ||
		gnutls_session_ext_master_secret_status(tls->session) == 0))
		return false;
	if (gnutls_session_channel_binding(tls->session, kind, &data) < 0)
		return false;
	if (data.size > 0 && data.size <= sizeof(binding->data)) {
		memcpy(binding->data, data.data, data.size);
		binding->size = data.size;
	}
	gnutls_free(data.data);
	return binding->size > 0;
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
