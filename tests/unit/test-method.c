/* SPDX-License-Identifier: ISC */
/* What "auth on" takes, and what it never does. */
#include <stdio.h>

#include "run/method.h"

#include "tap.h"

static struct capabilities capa;
static struct method_facts facts;

static const char all[] =
    "PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-1-PLUS "
    "SCRAM-SHA-256 SCRAM-SHA-256-PLUS EXTERNAL GSSAPI NTLM OAUTHBEARER "
    "XOAUTH2";

/* A server that has all, but for what a test takes away again. */
static void
offer(const char *sasl)
{
	parse_capabilities_init(&capa);
	capa.known = true;
	capa.user = true;
	strlcpy(capa.sasl, sasl, sizeof(capa.sasl));
	facts = (struct method_facts){
	    .capa = &capa, .has_timestamp = true, .fits_line = true};
}

static void
verified_tls(void)
{
	facts.tls = true;
	facts.verified = true;
	facts.bound = true;
}

/* All that is taken one after the other, "A B C". */
static const char *
order(void)
{
	static char text[512];
	const struct method *method = NULL;

	text[0] = '\0';
	while ((method = method_next(&facts, method)) != NULL) {
		strlcat(text, text[0] != '\0' ? " " : "", sizeof(text));
		strlcat(text, method_name(method), sizeof(text));
	}
	return text;
}

static void
test_tls(void)
{
	offer(all);
	verified_tls();
	tap_is(order(),
	    "SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 "
	    "USER PLAIN LOGIN DIGEST-MD5 CRAM-MD5",
	    "verified TLS");
	facts.has_certificate = true;
	tap_ok(strncmp(order(), "EXTERNAL ", 9) == 0,
	    "EXTERNAL first, with a certificate");
	facts.has_certificate = false;
	facts.bound = false;
	tap_ok(strncmp(order(), "SCRAM-SHA-256 SCRAM-SHA-1 USER ", 31) == 0,
	    "nothing to bind to");
	facts.verified = false;
	tap_is(order(), "SCRAM-SHA-256 SCRAM-SHA-1",
	    "TLS with whoever, and no APOP");
	facts.bound = true;
	tap_ok(strncmp(order(), "SCRAM-SHA-256-PLUS", 18) == 0,
	    "TLS with whoever: who it is comes out");
}

static void
test_clear(void)
{
	offer(all);
	tap_is(order(), "SCRAM-SHA-256 SCRAM-SHA-1 APOP", "a network, no TLS");
	offer("PLAIN LOGIN CRAM-MD5 DIGEST-MD5 NTLM");
	tap_is(order(), "APOP", "without SCRAM");
	facts.has_timestamp = false;
	tap_is(order(), "", "without APOP as well: nothing");
	facts.local = true;
	tap_is(order(), "USER PLAIN LOGIN DIGEST-MD5 CRAM-MD5",
	    "a socket or tunnel");
	facts.has_timestamp = true;
	tap_ok(strstr(order(), "APOP") == NULL, "there no APOP either");
}

static void
test_what_server_has(void)
{
	offer("");
	verified_tls();
	tap_is(order(), "USER", "no SASL");
	capa.user = false;
	tap_is(order(), "USER", "a server that says nothing");
	capa.known = false;
	tap_is(order(), "USER", "a server without CAPA");
	offer("PLAIN");
	verified_tls();
	capa.user = false;
	tap_is(order(), "PLAIN", "only SASL");
	offer("PLAINER SCRAM-SHA-2 XPLAIN");
	verified_tls();
	tap_is(order(), "USER", "a part of a name is no name");
	offer("PLAIN XOAUTH2");
	verified_tls();
	facts.fits_line = false;
	tap_is(order(), "PLAIN", "a password with a line end");
}

static void
test_none(void)
{
	struct err err;

	offer("XOAUTH2");
	verified_tls();
	capa.user = false;
	tap_is(order(), "", "a token is not what is taken by itself");
	method_none(&facts, &err);
	tap_ok(err.class == ERR_UNAVAILABLE &&
		strstr(err.hint, "auth xoauth2") != NULL,
	    "%s (%s)", err.text, err.hint);
	offer("");
	method_none(&facts, &err);
	tap_ok(err.class == ERR_UNAVAILABLE &&
		strstr(err.text, "was not sent") != NULL &&
		strstr(err.hint, "tls on") != NULL,
	    "%s (%s)", err.text, err.hint);
	facts.tls = true;
	method_none(&facts, &err);
	tap_ok(strstr(err.hint, "tls_fingerprint") != NULL, "%s (%s)", err.text,
	    err.hint);
}

static void
test_named(void)
{
	tap_ok(method_named(CONF_AUTH_BEST) == NULL, "auth on names none");
	for (int i = CONF_AUTH_USER; i <= CONF_AUTH_XOAUTH2; i++) {
		const struct method *method = method_named((enum conf_auth)i);

		tap_ok(method != NULL && method->auth == (enum conf_auth)i &&
			method->why != NULL,
		    "%s has a row and a reason", method_name(method));
	}
	tap_ok(!method_needs_secret(method_named(CONF_AUTH_EXTERNAL)) &&
		!method_needs_secret(method_named(CONF_AUTH_GSSAPI)) &&
		method_needs_secret(method_named(CONF_AUTH_USER)) &&
		method_needs_secret(method_named(CONF_AUTH_XOAUTH2)),
	    "who needs a secret");
}

int
main(void)
{
	test_named();
	test_what_server_has();
	test_none();
	if (sasl_library_version() != NULL) {
		test_tls();
		test_clear();
	}
	return tap_done();
}
