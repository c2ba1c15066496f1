/* SPDX-License-Identifier: ISC */
#include "run/method.h"

#include <string.h>

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))
#define SASL_ROW(name, where) \
	CONF_AUTH_##name, METHOD_SASL, SASL_##name, METHOD_##where

/* From the best to the worst. */
static const struct method methods[] = {
    {SASL_ROW(EXTERNAL, WITH_CERTIFICATE),
	"the client certificate is proof enough, and no secret is sent"},
    {SASL_ROW(SCRAM_SHA_256_PLUS, BOUND),
	"no secret is sent, the server has to know it, and nobody stands "
	"between"},
    {SASL_ROW(SCRAM_SHA_1_PLUS, BOUND),
	"as SCRAM-SHA-256-PLUS, with an older hash"},
    {SASL_ROW(SCRAM_SHA_256, ANYWHERE),
	"no secret is sent, and the server has to know it"},
    {SASL_ROW(SCRAM_SHA_1, ANYWHERE), "as SCRAM-SHA-256, with an older hash"},
    {CONF_AUTH_USER, METHOD_USER, SASL_MECHANISMS, METHOD_UNREAD,
	"the password itself, where nobody else can read it, and in the "
	"fewest round trips"},
    {SASL_ROW(PLAIN, UNREAD), "as USER, and a secret of any octets"},
    {SASL_ROW(LOGIN, UNREAD), "as PLAIN, in more round trips"},
    {SASL_ROW(DIGEST_MD5, UNREAD),
	"who reads on can try passwords, and faster each year"},
    {SASL_ROW(CRAM_MD5, UNREAD),
	"as DIGEST-MD5, and the server proves nothing"},
    {CONF_AUTH_APOP, METHOD_APOP, SASL_MECHANISMS, METHOD_CLEAR,
	"who stands between can work the password out (CVE-2007-1558): "
	"better than the password itself, but never under TLS"},
    {SASL_ROW(GSSAPI, NAMED),
	"the ticket at hand may be another person's, and finding out who "
	"gives one may take longer than any deadline"},
    {SASL_ROW(NTLM, NAMED), "who reads on has the password in a day"},
    {SASL_ROW(OAUTHBEARER, NAMED), "a password is no access token"},
    {SASL_ROW(XOAUTH2, NAMED), "a password is no access token"},
};

const struct method *
method_named(enum conf_auth auth)
{
	for (size_t i = 0; i < N_OF(methods); i++)
		if (methods[i].auth == auth)
			return &methods[i];
	return NULL;
}

const char *
method_name(const struct method *method)
{
	switch (method->way) {
	case METHOD_USER:
		return "USER";
	case METHOD_APOP:
		return "APOP";
	default:
		return sasl_name(method->mechanism);
	}
}

static bool
is_listed(const struct capabilities *capa, const char *name)
{
	const char *s = capa->sasl;

	while (*s != '\0') {
		size_t n = strcspn(s, " ");

		if (n == strlen(name) && memcmp(s, name, n) == 0)
			return true;
		s += n + (s[n] == ' ');
	}
	return false;
}

bool
method_is_announced(
    const struct method *method, const struct capabilities *capa)
{
	return method->way == METHOD_SASL &&
	    is_listed(capa, sasl_name(method->mechanism));
}

bool
method_needs_secret(const struct method *method)
{
	return method->way != METHOD_SASL ||
	    sasl_needs_secret(method->mechanism);
}

bool
method_needs_password(const struct method *method)
{
	return method_needs_secret(method) &&
	    (method->way != METHOD_SASL ||
		!sasl_needs_token(method->mechanism));
}

static bool
is_safe(const struct method *method, const struct method_facts *facts)
{
	switch (method->where) {
	case METHOD_ANYWHERE:
		return true;
	case METHOD_WITH_CERTIFICATE:
		return facts->has_certificate;
	case METHOD_BOUND:
		return facts->bound;
	case METHOD_UNREAD:
		return facts->verified || facts->local;
	case METHOD_CLEAR:
		return !facts->tls && !facts->local;
	default:
		return false;
	}
}

/* Servers older than CAPA, or that say nothing of logins, know USER. */
static bool
has_user(const struct capabilities *capa)
{
	return !capa->known || capa->user || capa->sasl[0] == '\0';
}

static bool
both_have(const struct method *method, const struct method_facts *facts)
{
	switch (method->way) {
	case METHOD_USER:
		return facts->fits_line && has_user(facts->capa);
	case METHOD_APOP:
		return facts->has_timestamp;
	default:
		return sasl_has(method->mechanism) &&
		    method_is_announced(method, facts->capa);
	}
}

const struct method *
method_next(const struct method_facts *facts, const struct method *after)
{
	size_t i = after != NULL ? (size_t)(after - methods) + 1 : 0;

	for (; i < N_OF(methods); i++)
		if (is_safe(&methods[i], facts) &&
		    both_have(&methods[i], facts))
			return &methods[i];
	return NULL;
}

static int
none_is_known(const struct method_facts *facts, struct err *err)
{
	const struct capabilities *capa = facts->capa;

	if (!facts->fits_line && has_user(capa))
		return err_set(err, ERR_CONFIG,
		    "the password has a line end, which USER and PASS cannot "
		    "send, and the server offers no SASL method that can");
	err_set(err, ERR_UNAVAILABLE,
	    "the server offers only %s, and auth on takes none of these",
	    capa->sasl);
	if (is_listed(capa, "XOAUTH2") || is_listed(capa, "OAUTHBEARER"))
		return err_hint(err,
		    "it wants an access token (OAuth2) and no password: auth "
		    "%s, and a passwordeval that prints a token",
		    is_listed(capa, "OAUTHBEARER") ? "oauthbearer" : "xoauth2");
	return err_hint(err, "name one of them: auth METHOD");
}

int
method_none(const struct method_facts *facts, struct err *err)
{
	if (facts->verified || facts->local)
		return none_is_known(facts, err);
	if (facts->tls) {
		err_set(err, ERR_UNAVAILABLE,
		    "no method is safe while the server's certificate is not "
		    "checked; the password was not sent");
		return err_hint(err,
		    "pin it with tls_fingerprint in place of tls_certcheck "
		    "off, or auth user if anybody in the server's place may "
		    "have the password");
	}
	err_set(err, ERR_UNAVAILABLE,
	    "no method is safe without TLS; the password was not sent");
	return err_hint(err,
	    "use tls on, or auth user if everybody on the way may read the "
	    "password");
}
