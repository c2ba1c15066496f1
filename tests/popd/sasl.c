/* SPDX-License-Identifier: ISC */
/* The server's side of AUTH (RFC 5034), by GNU SASL. */
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "sasl.h"
#include "text.h"

bool
sasl_offers(const struct options *o, const char *mechanism)
{
	const char *at = o->sasl;
	size_t len = strlen(mechanism);

	while (at != NULL && *at != '\0') {
		size_t n = strcspn(at, " ");

		if (n == len && strncmp(at, mechanism, n) == 0)
			return true;
		at += n + strspn(at + n, " ");
	}
	return false;
}

#ifdef HAVE_GSASL

#include <gsasl.h>

enum {
	LINE = 60000
};

/* The password of the user whom the client named. */
static int
look_up(Gsasl *library, Gsasl_session *session, Gsasl_property property)
{
	const struct options *o = gsasl_callback_hook_get(library);
	const char *name = gsasl_property_fast(session, GSASL_AUTHID);

	if (property != GSASL_PASSWORD || name == NULL)
		return GSASL_NO_CALLBACK;
	for (size_t i = 0; i < o->user_count; i++)
		if (strcmp(o->users[i].name, name) == 0)
			return gsasl_property_set(
			    session, property, o->users[i].password);
	return GSASL_NO_PASSWORD;
}

/* As if the client's TLS ended at somebody else, who has another one to us. */
static void
spoil(const struct options *o, char *data)
{
	if (o->sasl_other_tls)
		data[0] ^= 1;
}

static void
set_binding(struct connection *c, Gsasl_session *session)
{
	char data[64], *encoded;
	bool exporter;
	size_t n = stream_tls_binding(c->stream, data, sizeof(data), &exporter);

	if (n == 0)
		return;
	spoil(c->options, data);
	if (gsasl_base64_to(data, n, &encoded, NULL) != GSASL_OK)
		errx(1, "no memory");
	gsasl_property_set(session,
	    exporter ? GSASL_CB_TLS_EXPORTER : GSASL_CB_TLS_UNIQUE, encoded);
	free(encoded);
}

static bool
read_response(struct connection *c, char *line)
{
	size_t len;

	if (stream_line(c->stream, line, LINE, &len, -1) != LINE_OK)
		return false;
	if (len > 0 && line[len - 1] == '\r')
		line[--len] = '\0';
	log_line(c->number, line, len);
	return strcmp(line, "*") != 0;
}

static bool
challenge(struct connection *c, const char *text, char *line)
{
	stream_puts(c->stream, "+ ");
	stream_puts(c->stream, text);
	stream_puts(c->stream, "\r\n");
	return stream_flush(c->stream) && read_response(c, line);
}

/* line holds the first response; without one the library asks for it. */
static bool
talk(struct connection *c, Gsasl_session *session, char *line)
{
	char *out = NULL;
	bool ok = true;
	int r = GSASL_NEEDS_MORE;

	if (strcmp(line, "=") == 0)
		*line = '\0';
	while (ok && r == GSASL_NEEDS_MORE) {
		r = gsasl_step64(session, line, &out);
		ok = r == GSASL_NEEDS_MORE || r == GSASL_OK;
		/* What is left to say is said in one challenge more. */
		if (ok && (r == GSASL_NEEDS_MORE || *out != '\0'))
			ok = challenge(c, out, line);
		if (r == GSASL_NEEDS_MORE || r == GSASL_OK)
			gsasl_free(out);
	}
	return ok;
}

bool
sasl_exchange(struct connection *c, const char *argument, char **user)
{
	size_t len = strcspn(argument, " ");
	char *mechanism = text_copy_some(argument, len);
	char *line = text_alloc(1, LINE);
	Gsasl_session *session;
	Gsasl *library;
	bool ok;

	if (gsasl_init(&library) != GSASL_OK)
		errx(1, "GNU SASL cannot start");
	gsasl_callback_set(library, look_up);
	/* The hook is only read through. */
	gsasl_callback_hook_set(library, (void *)(uintptr_t)c->options);
	ok = sasl_offers(c->options, mechanism) &&
	    gsasl_server_start(library, mechanism, &session) == GSASL_OK;
	if (ok) {
		set_binding(c, session);
		strlcpy(line, argument + len + (argument[len] == ' '), LINE);
		ok = talk(c, session, line);
		if (ok)
			*user = text_copy(
			    gsasl_property_fast(session, GSASL_AUTHID));
		else
			stream_puts(c->stream, "-ERR [AUTH] it is not you\r\n");
		gsasl_finish(session);
	} else {
		stream_puts(c->stream, "-ERR no such mechanism\r\n");
	}
	gsasl_done(library);
	free(line);
	free(mechanism);
	return ok;
}

void
sasl_check(const struct options *o)
{
	(void)o;
}

#else

bool
sasl_exchange(struct connection *c, const char *argument, char **user)
{
	(void)argument;
	(void)user;
	stream_puts(c->stream, "-ERR no such mechanism\r\n");
	return false;
}

void
sasl_check(const struct options *o)
{
	if (o->sasl != NULL)
		errx(2, "--sasl: this popd was built without GNU SASL");
}

#endif
