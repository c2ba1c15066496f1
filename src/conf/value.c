/* SPDX-License-Identifier: ISC */
#include "conf/value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "conf/lex.h"

#define SECONDS_MAX INT32_MAX
#define SERVICE_MAX 32
#define FINGERPRINT_MAX 32
#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

static void *
field_of(const struct keyword *keyword, struct account *account)
{
	return (char *)account + keyword->offset;
}

static const void *
const_field_of(const struct keyword *keyword, const struct account *account)
{
	return (const char *)account + keyword->offset;
}

static bool
refuse(const char **why, const char *phrase)
{
	*why = phrase;
	return false;
}

/* Words */

static bool
is_one_of(const char *word, const char *const words[], size_t n, size_t *i)
{
	for (*i = 0; *i < n; ++*i)
		if (strcasecmp(word, words[*i]) == 0)
			return true;
	return false;
}

static const char *const switch_words[] = {
    [CONF_OFF] = "off", [CONF_ON] = "on", [CONF_AUTO] = "auto"};

static bool
parse_switch(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	enum conf_switch *field = field_of(keyword, account);
	bool has_auto = strstr(keyword->choices, "auto") != NULL;
	size_t i;

	if (!is_one_of(argument, switch_words, has_auto ? 3 : 2, &i))
		return refuse(
		    why, has_auto ? "not on, off or auto" : "not on or off");
	*field = (enum conf_switch)i;
	return true;
}

static char *
print_switch(
    const struct keyword *keyword, const struct account *account, size_t i)
{
	const enum conf_switch *field = const_field_of(keyword, account);

	(void)i;
	return mem_dup(switch_words[*field]);
}

const struct keyword_type value_switch = {
    .size = sizeof(enum conf_switch),
    .parse = parse_switch,
    .print = print_switch,
};

static const char *const auth_words[] = {
    [CONF_AUTH_BEST] = "on",
    [CONF_AUTH_USER] = "user",
    [CONF_AUTH_APOP] = "apop",
    [CONF_AUTH_PLAIN] = "plain",
    [CONF_AUTH_LOGIN] = "login",
    [CONF_AUTH_CRAM_MD5] = "cram-md5",
    [CONF_AUTH_DIGEST_MD5] = "digest-md5",
    [CONF_AUTH_SCRAM_SHA_1] = "scram-sha-1",
    [CONF_AUTH_SCRAM_SHA_1_PLUS] = "scram-sha-1-plus",
    [CONF_AUTH_SCRAM_SHA_256] = "scram-sha-256",
    [CONF_AUTH_SCRAM_SHA_256_PLUS] = "scram-sha-256-plus",
    [CONF_AUTH_EXTERNAL] = "external",
    [CONF_AUTH_GSSAPI] = "gssapi",
    [CONF_AUTH_NTLM] = "ntlm",
    [CONF_AUTH_OAUTHBEARER] = "oauthbearer",
    [CONF_AUTH_XOAUTH2] = "xoauth2",
};

static bool
parse_auth(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	enum conf_auth *field = field_of(keyword, account);
	size_t i;

	if (!is_one_of(argument, auth_words, N_OF(auth_words), &i))
		return refuse(why, "not on or a method of poplarrc(5)");
	*field = (enum conf_auth)i;
	return true;
}

static char *
print_auth(
    const struct keyword *keyword, const struct account *account, size_t i)
{
	const enum conf_auth *field = const_field_of(keyword, account);

	(void)i;
	return mem_dup(auth_words[*field]);
}

const struct keyword_type value_auth = {
    .size = sizeof(enum conf_auth),
    .parse = parse_auth,
    .print = print_auth,
};

static const char *const order_words[] = {"oldest", "newest"};

static bool
parse_order(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	bool *field = field_of(keyword, account);
	size_t i;

	if (!is_one_of(argument, order_words, N_OF(order_words), &i))
		return refuse(why, "not oldest or newest");
	*field = i == 1;
	return true;
}

static char *
print_order(
    const struct keyword *keyword, const struct account *account, size_t i)
{
	const bool *field = const_field_of(keyword, account);

	(void)i;
	return mem_dup(order_words[*field]);
}

const struct keyword_type value_order = {
    .size = sizeof(bool),
    .parse = parse_order,
    .print = print_order,
};

/* Numbers */

static bool
is_off(const char *argument)
{
	return strcasecmp(argument, "off") == 0;
}

static bool
is_hex(const char *s)
{
	return s[0] == '0' && (s[1] == 'x' || s[1] == 'X') &&
	    isxdigit((unsigned char)s[2]);
}

/* Decimal, or hexadecimal with 0x, which mpop takes as well. */
static bool
to_number(const char *s, uint64_t max, uint64_t *value)
{
	char *end;

	if (!is_hex(s))
		return text_to_number(s, strlen(s), max, value);
	*value = strtoull(s, &end, 16);
	return *end == '\0' && *value <= max;
}

/* "off" (0), or a number above 0. */
static bool
to_number_or_off(const char *s, uint64_t max, uint64_t *value)
{
	*value = 0;
	return is_off(s) || (to_number(s, max, value) && *value > 0);
}

static char *
print_number_or_off(
    const struct keyword *keyword, const struct account *account, size_t i)
{
	const uint64_t *field = const_field_of(keyword, account);

	(void)i;
	if (*field == 0)
		return mem_dup("off");
	return mem_printf("%llu", (unsigned long long)*field);
}

static bool
parse_seconds(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	uint64_t value;

	if (!to_number_or_off(argument, SECONDS_MAX, &value))
		return refuse(why, "not off or a number of seconds above 0");
	*(uint64_t *)field_of(keyword, account) = value;
	return true;
}

const struct keyword_type value_seconds = {
    .size = sizeof(uint64_t),
    .parse = parse_seconds,
    .print = print_number_or_off,
};

static bool
parse_count(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	uint64_t value;

	if (!to_number_or_off(argument, UINT32_MAX, &value))
		return refuse(why, "not off or a number above 0");
	*(uint64_t *)field_of(keyword, account) = value;
	return true;
}

const struct keyword_type value_count = {
    .size = sizeof(uint64_t),
    .parse = parse_count,
    .print = print_number_or_off,
};

static bool
to_size(const char *s, uint64_t *octets)
{
	char decimal[48], *end;
	unsigned long long value;

	if (is_off(s)) {
		*octets = CONF_SIZE_OFF;
		return true;
	}
	if (!is_hex(s))
		return text_to_size(s, octets);
	value = strtoull(s, &end, 16);
	if (strlen(end) > 1)
		return false;
	snprintf(decimal, sizeof(decimal), "%llu%s", value, end);
	return text_to_size(decimal, octets);
}

/* 0 is meant as mpop means it: every message. */
static bool
parse_size(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	uint64_t value;

	if (!to_size(argument, &value))
		return refuse(why, "not off or a size such as 10M");
	*(uint64_t *)field_of(keyword, account) = value;
	return true;
}

/* 0 would stop all mail without a word. */
static bool
parse_limit(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	uint64_t value;

	if (!to_size(argument, &value) || value == 0)
		return refuse(why, "not off or a size above 0 such as 10M");
	*(uint64_t *)field_of(keyword, account) = value;
	return true;
}

/* With the largest unit that divides it. */
static char *
print_size(
    const struct keyword *keyword, const struct account *account, size_t i)
{
	const uint64_t *field = const_field_of(keyword, account);
	static const char *const units[] = {"", "k", "M", "G", "T"};
	unsigned long long value = *field;
	size_t unit = 0;

	(void)i;
	if (*field == CONF_SIZE_OFF)
		return mem_dup("off");
	while (value > 0 && value % 1024 == 0 && unit + 1 < N_OF(units)) {
		value /= 1024;
		unit++;
	}
	return mem_printf("%llu%s", value, units[unit]);
}

const struct keyword_type value_size = {
    .size = sizeof(uint64_t),
    .parse = parse_size,
    .print = print_size,
};

const struct keyword_type value_limit = {
    .size = sizeof(uint64_t),
    .parse = parse_limit,
    .print = print_size,
};

static bool
parse_keep(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	enum conf_keep *field = field_of(keyword, account);
	uint64_t seconds = 0;

	if (strcasecmp(argument, "on") == 0)
		*field = CONF_KEEP_ON;
	else if (is_off(argument))
		*field = CONF_KEEP_OFF;
	else if (text_to_duration(argument, &seconds) && seconds > 0)
		*field = CONF_KEEP_TIME;
	else
		return refuse(why, "not on, off or a time such as 30d");
	account->keep_seconds = seconds;
	return true;
}

static char *
print_keep(
    const struct keyword *keyword, const struct account *account, size_t i)
{
	const enum conf_keep *field = const_field_of(keyword, account);
	char time[64];

	(void)i;
	if (*field == CONF_KEEP_TIME)
		return mem_dup(text_of_duration(
		    time, sizeof(time), account->keep_seconds));
	return mem_dup(*field == CONF_KEEP_ON ? "on" : "off");
}

const struct keyword_type value_keep = {
    .size = offsetof(struct account, keep_seconds) + sizeof(uint64_t) -
	offsetof(struct account, keep),
    .parse = parse_keep,
    .print = print_keep,
};

/* Strings */

static void
own_string(void *field)
{
	char **string = field;

	if (*string != NULL)
		*string = mem_dup(*string);
}

/* All strings are wiped: a command or a name may hold a secret too. */
static void
clear_string(void *field)
{
	char **string = field;

	mem_free_secret(*string);
	*string = NULL;
}

/* Takes the value over; an empty one is unset. */
static bool
store_string(
    const struct keyword *keyword, struct account *account, char *value)
{
	char **field = field_of(keyword, account);

	clear_string(field);
	if (value[0] != '\0')
		*field = value;
	else
		free(value);
	return true;
}

static char *
print_string(
    const struct keyword *keyword, const struct account *account, size_t i)
{
	char *const *field = const_field_of(keyword, account);

	(void)i;
	return *field != NULL ? lex_quote(*field) : NULL;
}

/* An rc file cannot hold line ends, the command line can. */
static bool
is_one_line(const char *argument, const char **why)
{
	return argument[strcspn(argument, "\r\n")] == '\0' ||
	    refuse(why, "a line end within the argument");
}

static bool
parse_text(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	return is_one_line(argument, why) &&
	    store_string(keyword, account, mem_dup(argument));
}

const struct keyword_type value_text = {
    .size = sizeof(char *),
    .parse = parse_text,
    .print = print_string,
    .own = own_string,
    .clear = clear_string,
};

static bool
is_choice(const char *choices, const char *word)
{
	size_t n = strlen(word);

	while (*choices != '\0') {
		size_t length = strcspn(choices, "|");

		if (length == n && strncasecmp(choices, word, n) == 0)
			return true;
		choices += length;
		choices += *choices == '|';
	}
	return false;
}

/* Some of the choices, with blanks or commas between them. */
static bool
parse_words(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	char *copy = mem_dup(argument), *rest = copy, *word;
	struct buf words = {0};
	bool good = true;

	while (good && (word = strsep(&rest, " \t,")) != NULL) {
		if (word[0] == '\0')
			continue;
		good = is_choice(keyword->choices, word);
		for (char *c = word; *c != '\0'; c++)
			*c = (char)tolower((unsigned char)*c);
		buf_printf(&words, "%s%s", words.len > 0 ? " " : "", word);
	}
	free(copy);
	if (good)
		store_string(keyword, account, mem_dup(buf_string(&words)));
	buf_free(&words);
	return good ||
	    refuse(why, "not tls1.0, legacy-renegotiation, small-dh or sha1");
}

const struct keyword_type value_words = {
    .size = sizeof(char *),
    .parse = parse_words,
    .print = print_string,
    .own = own_string,
    .clear = clear_string,
};

static char *
print_secret(
    const struct keyword *keyword, const struct account *account, size_t i)
{
	char *const *field = const_field_of(keyword, account);

	(void)i;
	return *field != NULL ? mem_dup("*") : NULL;
}

const struct keyword_type value_secret = {
    .size = sizeof(char *),
    .parse = parse_text,
    .print = print_secret,
    .own = own_string,
    .clear = clear_string,
};

/* Not where we write. */
static bool
parse_descriptor(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	struct conf_descriptor *field = field_of(keyword, account);
	uint64_t number;

	*field = (struct conf_descriptor){.given = false};
	if (argument[0] == '\0')
		return true;
	if (!to_number(argument, INT_MAX, &number) || number == 1 ||
	    number == 2)
		return refuse(why, "not a descriptor: 0, or 3 and above");
	field->given = true;
	field->fd = (int)number;
	return true;
}

static char *
print_descriptor(
    const struct keyword *keyword, const struct account *account, size_t i)
{
	const struct conf_descriptor *field = const_field_of(keyword, account);

	(void)i;
	return field->given ? mem_printf("%d", field->fd) : NULL;
}

const struct keyword_type value_descriptor = {
    .size = sizeof(struct conf_descriptor),
    .parse = parse_descriptor,
    .print = print_descriptor,
};

static bool
parse_host(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	for (const char *s = argument; *s != '\0'; s++)
		if ((unsigned char)*s <= ' ' || *s == '\x7f' || *s == '/')
			return refuse(why, "not a host name or address");
	/* Two make an IPv6 address. */
	if (strchr(argument, ':') != NULL &&
	    strchr(argument, ':') == strrchr(argument, ':'))
		return refuse(why, "the port has a keyword of its own");
	return store_string(keyword, account, mem_dup(argument));
}

const struct keyword_type value_host = {
    .size = sizeof(char *),
    .parse = parse_host,
    .print = print_string,
    .own = own_string,
    .clear = clear_string,
};

/* The zone of an IPv6 address is the system's business. */
static bool
parse_address(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr binary;
	size_t n = strcspn(argument, "%");

	if (n >= sizeof(address))
		return refuse(why, "not an IPv4 or IPv6 address");
	memcpy(address, argument, n);
	address[n] = '\0';
	if (argument[0] != '\0' && inet_pton(AF_INET, argument, &binary) != 1 &&
	    inet_pton(AF_INET6, address, &binary) != 1)
		return refuse(why, "not an IPv4 or IPv6 address");
	return parse_host(keyword, argument, account, why);
}

const struct keyword_type value_address = {
    .size = sizeof(char *),
    .parse = parse_address,
    .print = print_string,
    .own = own_string,
    .clear = clear_string,
};

static bool
is_service(const char *s)
{
	bool letter = false;

	if (strlen(s) > SERVICE_MAX)
		return false;
	for (; *s != '\0'; s++) {
		if (!isalnum((unsigned char)*s) && *s != '-')
			return false;
		letter = letter || isalpha((unsigned char)*s);
	}
	return letter;
}

static bool
parse_port(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	uint64_t number;

	if (argument[0] == '\0' && keyword->initial != NULL)
		argument = keyword->initial;
	if (to_number(argument, UINT16_MAX, &number) && number > 0)
		return store_string(keyword, account,
		    mem_printf("%llu", (unsigned long long)number));
	if (is_hex(argument) || !is_service(argument))
		return refuse(why, "not a port (1 to 65535) or a service");
	return store_string(keyword, account, mem_dup(argument));
}

const struct keyword_type value_port = {
    .size = sizeof(char *),
    .parse = parse_port,
    .print = print_string,
    .own = own_string,
    .clear = clear_string,
};

static bool
parse_path(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	return is_one_line(argument, why) &&
	    store_string(keyword, account, file_expand_home(argument));
}

const struct keyword_type value_path = {
    .size = sizeof(char *),
    .parse = parse_path,
    .print = print_string,
    .own = own_string,
    .clear = clear_string,
};

/* In whatever letters: p11-kit(8) passes over blanks. */
static bool
has_pin(const char *uri)
{
	static const char name[] = "pin-value";
	size_t n = 0;

	for (; *uri != '\0' && name[n] != '\0'; uri++) {
		if (isspace((unsigned char)*uri))
			continue;
		if (tolower((unsigned char)*uri) == name[n])
			n++;
		else
			n = tolower((unsigned char)*uri) == name[0];
	}
	return name[n] == '\0';
}

/* The rc file is no place for a PIN, nor are an argument list and
 * --pretend. */
static bool
parse_key(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	if (strncasecmp(argument, "pkcs11:", 7) != 0)
		return parse_path(keyword, argument, account, why);
	if (has_pin(argument))
		return refuse(
		    why, "a PIN must be in a file of its own, pin-source=FILE");
	return parse_text(keyword, argument, account, why);
}

const struct keyword_type value_key = {
    .size = sizeof(char *),
    .parse = parse_key,
    .print = print_string,
    .own = own_string,
    .clear = clear_string,
};

/* An empty argument is not "system" but nobody, so it stays "". */
static bool
parse_trust(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	char **field = field_of(keyword, account);

	if (!is_one_line(argument, why))
		return false;
	clear_string(field);
	if (strcasecmp(argument, CONF_TRUST_TOFU) == 0)
		*field = mem_dup(CONF_TRUST_TOFU);
	else if (strcasecmp(argument, "system") != 0)
		*field = file_expand_home(argument);
	return true;
}

static char *
print_trust(
    const struct keyword *keyword, const struct account *account, size_t i)
{
	char *file = print_string(keyword, account, i);

	return file != NULL ? file : mem_dup("system");
}

const struct keyword_type value_trust = {
    .size = sizeof(char *),
    .parse = parse_trust,
    .print = print_trust,
    .own = own_string,
    .clear = clear_string,
};

/* Fingerprints */

static void
own_strings(void *field)
{
	struct conf_strings *strings = field;
	char **items = mem_zero(strings->n, sizeof(*items));

	for (size_t i = 0; i < strings->n; i++)
		items[i] = mem_dup(strings->items[i]);
	strings->items = items;
}

static void
clear_strings(void *field)
{
	struct conf_strings *strings = field;

	for (size_t i = 0; i < strings->n; i++)
		free(strings->items[i]);
	free(strings->items);
	*strings = (struct conf_strings){0};
}

static bool
is_separator(char c)
{
	return c == ':' || c == ' ' || c == '\t';
}

/* Octets with colons or blanks between them or not, into "AB:CD"; returns
 * their number, 0 for anything else or too many. */
static size_t
to_fingerprint(const char *s, char out[3 * FINGERPRINT_MAX])
{
	size_t n = 0;

	while (*s != '\0') {
		if (n > 0 && is_separator(*s))
			s++;
		if (n == FINGERPRINT_MAX || !isxdigit((unsigned char)s[0]) ||
		    !isxdigit((unsigned char)s[1]))
			return 0;
		if (n > 0)
			out[3 * n - 1] = ':';
		out[3 * n] = (char)toupper((unsigned char)s[0]);
		out[3 * n + 1] = (char)toupper((unsigned char)s[1]);
		out[3 * n + 2] = '\0';
		s += 2;
		n++;
	}
	return n;
}

/* In its only form: the last digit has two bits to spare, which are 0. */
static bool
is_sha256_in_base64(const char *s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";

	return strspn(s, digits) == 43 && strcmp(s + 43, "=") == 0 &&
	    strchr("AEIMQUYcgkosw048", s[42]) != NULL;
}

static void
add_string(struct conf_strings *strings, char *string)
{
	strings->items =
	    mem_grow(strings->items, strings->n + 1, sizeof(*strings->items));
	strings->items[strings->n++] = string;
}

static bool
parse_fingerprint(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	struct conf_strings *field = field_of(keyword, account);
	char fingerprint[3 * FINGERPRINT_MAX];
	size_t octets;

	if (argument[0] == '\0') {
		clear_strings(field);
		return true;
	}
	if (strncasecmp(argument, "sha256/", 7) == 0) {
		if (!is_sha256_in_base64(argument + 7))
			return refuse(why,
			    "not sha256/ and the base64 of a SHA-256, which "
			    "has 44 characters");
		add_string(field, mem_printf("sha256/%s", argument + 7));
		return true;
	}
	octets = to_fingerprint(argument, fingerprint);
	if (octets == 16)
		return refuse(why, "MD5 proves nothing, give the SHA-256");
	if (octets != 20 && octets != 32)
		return refuse(why, "not a SHA-256 or SHA-1 fingerprint");
	add_string(field, mem_dup(fingerprint));
	return true;
}

static char *
print_fingerprint(
    const struct keyword *keyword, const struct account *account, size_t i)
{
	const struct conf_strings *field = const_field_of(keyword, account);

	return i < field->n ? mem_dup(field->items[i]) : NULL;
}

const struct keyword_type value_fingerprints = {
    .size = sizeof(struct conf_strings),
    .parse = parse_fingerprint,
    .print = print_fingerprint,
    .own = own_strings,
    .clear = clear_strings,
};

/* Delivery */

static void
own_delivery(void *field)
{
	struct conf_delivery *delivery = field;

	own_string(&delivery->target);
}

static void
clear_delivery(void *field)
{
	struct conf_delivery *delivery = field;

	clear_string(&delivery->target);
}

static bool
to_kind(
    const char *argument, size_t n, enum deliver_kind *kind, const char **why)
{
	char word[16] = "";

	for (size_t i = 0; i < n && i + 1 < sizeof(word); i++)
		word[i] = (char)tolower((unsigned char)argument[i]);
	if (strcmp(word, "exchange") == 0)
		return refuse(why,
		    "there is no delivery to an Exchange pickup directory, "
		    "only maildir, mbox and mda");
	if (!deliver_kind_from_word(word, kind))
		return refuse(why, "not maildir, mbox or mda");
	return true;
}

static bool
parse_delivery(const struct keyword *keyword, const char *argument,
    struct account *account, const char **why)
{
	struct conf_delivery *field = field_of(keyword, account);
	size_t n = strcspn(argument, " \t");
	enum deliver_kind kind;
	char *rest, *target;

	if (!to_kind(argument, n, &kind, why) || !is_one_line(argument, why))
		return false;
	rest = mem_dup(argument + n);
	target = lex_trim(rest);
	if (target[0] == '\0') {
		free(rest);
		return refuse(why, "a directory, file or command is missing");
	}
	clear_delivery(field);
	field->kind = kind;
	field->target =
	    kind == DELIVER_MDA ? mem_dup(target) : file_expand_home(target);
	free(rest);
	return true;
}

static char *
print_delivery(
    const struct keyword *keyword, const struct account *account, size_t i)
{
	const struct conf_delivery *field = const_field_of(keyword, account);
	char *target = lex_quote(field->target), *text;

	(void)i;
	text = mem_printf("%s %s", deliver_kind_word(field->kind), target);
	free(target);
	return text;
}

const struct keyword_type value_delivery = {
    .size = sizeof(struct conf_delivery),
    .parse = parse_delivery,
    .print = print_delivery,
    .own = own_delivery,
    .clear = clear_delivery,
};
