/* SPDX-License-Identifier: ISC */
/*
 * The methods of a login and which of them "auth on" takes: one table, with
 * the reason in each row.  Pure: facts in, a method out.
 */
#ifndef RUN_METHOD_H
#define RUN_METHOD_H

#include <stdbool.h>

#include "conf/conf.h"
#include "pop3/parse.h"
#include "pop3/sasl.h"

enum method_way {
	METHOD_USER, /* USER and PASS */
	METHOD_APOP,
	METHOD_SASL,
};

/* Where "auth on" may take a method by itself. */
enum method_where {
	METHOD_ANYWHERE,
	METHOD_WITH_CERTIFICATE, /* a client certificate was shown */
	METHOD_BOUND,		 /* TLS that a mechanism can be bound to */
	METHOD_UNREAD, /* nobody reads on: verified TLS, or no network */
	METHOD_CLEAR,  /* a network without TLS */
	METHOD_NAMED,  /* nowhere: it must be named */
};

struct method {
	enum conf_auth auth;
	enum method_way way;
	enum sasl_mechanism mechanism; /* for METHOD_SASL */
	enum method_where where;
	const char *why; /* a phrase, for -v */
};

struct method_facts {
	const struct capabilities *capa;
	bool has_timestamp; /* the greeting's, for APOP */
	bool tls;
	bool verified; /* TLS, and the server's certificate was checked */
	bool local;    /* the peer is no network: unix socket, tunnel */
	bool bound;    /* TLS has channel binding */
	bool has_certificate;
	bool fits_line; /* the secret can stand in a command line */
};

/* The one that the rc file names; NULL for CONF_AUTH_BEST. */
const struct method *method_named(enum conf_auth auth);

/* The best one behind "after" (NULL: of all) that both sides have and that is
 * safe here; NULL if there is none. */
const struct method *method_next(
    const struct method_facts *facts, const struct method *after);

/* "APOP", "SCRAM-SHA-256", "USER". */
const char *method_name(const struct method *method);

/* Does the server list it (RFC 5034)? */
bool method_is_announced(
    const struct method *method, const struct capabilities *capa);

/* No method is safe here: fill err with why, and in the hint what to say in
 * the rc file.  Always returns -1. */
int method_none(const struct method_facts *facts, struct err *err);

/* Without a secret there is nothing to ask for. */
bool method_needs_secret(const struct method *method);

/* The secret is a password, and no token. */
bool method_needs_password(const struct method *method);

#endif
