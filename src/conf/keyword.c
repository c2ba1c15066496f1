/* SPDX-License-Identifier: ISC */
#include "conf/keyword.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "conf/value.h"

#define FIELD(name, type) offsetof(struct account, name), &value_##type
#define NO_FIELD 0, NULL
#define N_OF(array) (sizeof(array) / sizeof((array)[0]))
#define NAME_MAX_LENGTH 40

static const struct keyword keywords[] = {
    {"host", NULL, 0, FIELD(host, host), NULL},
    {"port", NULL, 0, FIELD(port, port), NULL},
    {"socket", NULL, 0, FIELD(socket, path), NULL},
    {"tunnel", NULL, 0, FIELD(tunnel, text), NULL},
    {"source_ip", NULL, 0, FIELD(source_ip, address), NULL},
    {"proxy_host", NULL, 0, FIELD(proxy_host, host), NULL},
    {"proxy_port", "1080", 0, FIELD(proxy_port, port), NULL},
    {"proxy_user", NULL, 0, FIELD(proxy_user, text), NULL},
    {"proxy_password", NULL, KEYWORD_SECRET, FIELD(proxy_password, secret),
	NULL},
    {"timeout", "180", 0, FIELD(timeout, seconds), NULL},
    {"connect_timeout", "30", 0, FIELD(connect_timeout, seconds), NULL},
    {"session_timeout", "off", 0, FIELD(session_timeout, seconds), NULL},
    {"mda_timeout", "300", 0, FIELD(mda_timeout, seconds), NULL},
    {"pipelining", "auto", KEYWORD_EMPTY_IS_ON, FIELD(pipelining, switch),
	"auto|on|off"},
    {"auth", "on", KEYWORD_EMPTY_IS_ON, FIELD(auth, auth), NULL},
    {"user", NULL, 0, FIELD(user, text), NULL},
    {"password", NULL, KEYWORD_SECRET, FIELD(password, secret), NULL},
    {"passwordeval", NULL, 0, FIELD(passwordeval, text), NULL},
    {"passwordfd", NULL, KEYWORD_HIDDEN, FIELD(passwordfd, descriptor), NULL},
    {"ntlmdomain", NULL, 0, FIELD(ntlmdomain, text), NULL},
    {"tls", "on", KEYWORD_EMPTY_IS_ON, FIELD(tls, switch), "on|off"},
    {"tls_starttls", "auto", KEYWORD_EMPTY_IS_ON, FIELD(tls_starttls, switch),
	"auto|on|off"},
    {"tls_trust_file", "system", 0, FIELD(tls_trust_file, trust), NULL},
    {"tls_crl_file", NULL, 0, FIELD(tls_crl_file, path), NULL},
    {"tls_fingerprint", NULL, KEYWORD_LIST,
	FIELD(tls_fingerprint, fingerprints), NULL},
    {"tls_compat", NULL, 0, FIELD(tls_compat, words),
	"tls1.0|legacy-renegotiation|small-dh|sha1"},
    {"tls_cert_file", NULL, KEYWORD_HIDDEN, FIELD(tls_cert_file, key), NULL},
    {"tls_key_file", NULL, KEYWORD_HIDDEN, FIELD(tls_key_file, key), NULL},
    {"tls_certcheck", "on", KEYWORD_EMPTY_IS_ON, FIELD(tls_certcheck, switch),
	"on|off"},
    {"tls_priorities", NULL, 0, FIELD(tls_priorities, text), NULL},
    {"tls_host_override", NULL, 0, FIELD(tls_host_override, host), NULL},
    {"tls_min_dh_prime_bits", NULL, KEYWORD_IGNORED, NO_FIELD, NULL},
    {"tls_force_sslv3", NULL, KEYWORD_IGNORED, NO_FIELD, NULL},
    {"delivery", "maildir ~/Maildir", 0, FIELD(delivery, delivery), NULL},
    {"uidls_file", NULL, 0, FIELD(uidls_file, path), NULL},
    {"require_state", "off", KEYWORD_EMPTY_IS_ON, FIELD(require_state, switch),
	"on|off"},
    {"only_new", "on", KEYWORD_EMPTY_IS_ON, FIELD(only_new, switch), "on|off"},
    {"keep", "on", KEYWORD_EMPTY_IS_ON, FIELD(keep, keep), NULL},
    {"killsize", "off", 0, FIELD(killsize, size), NULL},
    {"skipsize", "off", 0, FIELD(skipsize, size), NULL},
    {"max_messages", "off", 0, FIELD(max_messages, count), NULL},
    {"max_bytes", "off", 0, FIELD(max_bytes, limit), NULL},
    {"order", "oldest", 0, FIELD(newest_first, order), "oldest|newest"},
    {"filter", NULL, KEYWORD_LATER, NO_FIELD, NULL},
    {"received_header", "off", KEYWORD_LATER | KEYWORD_EMPTY_IS_ON, NO_FIELD,
	"on|off"},
    {"on_new", NULL, KEYWORD_LATER, NO_FIELD, NULL},
    {"quarantine_after", "5", 0, FIELD(quarantine_after, count), NULL},
    {"alert_after", "1", KEYWORD_LATER, NO_FIELD, NULL},
};

static_assert(N_OF(keywords) <= 64, "struct account has 64 bits of said");

/* Of the grammar, not of an account. */
static const char *const commands[] = {
    "defaults", "account", "eval", "include"};

const struct keyword *
keyword_table(size_t *n)
{
	*n = N_OF(keywords);
	return keywords;
}

const struct keyword *
keyword_find(const char *name)
{
	for (size_t i = 0; i < N_OF(keywords); i++)
		if (strcasecmp(name, keywords[i].name) == 0)
			return &keywords[i];
	return NULL;
}

const char *
keyword_nearest(const char *name)
{
	const char *candidates[N_OF(keywords) + N_OF(commands)];
	char lower[NAME_MAX_LENGTH];
	size_t n = 0, length = strlen(name);

	if (length >= sizeof(lower))
		return NULL;
	for (size_t i = 0; i <= length; i++)
		lower[i] = (char)tolower((unsigned char)name[i]);
	for (size_t i = 0; i < N_OF(keywords); i++)
		candidates[n++] = keywords[i].name;
	for (size_t i = 0; i < N_OF(commands); i++)
		candidates[n++] = commands[i];
	return text_nearest(lower, candidates, n);
}
