/* SPDX-License-Identifier: ISC */
#include "pop3/parse.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

#define MSG_ID_MAX 512
#define RESP_CODE_MAX 64

/* Bytes that are eaten from the left. */
struct span {
	const char *at;
	size_t n;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static void
skip_blanks(struct span *s)
{
	while (s->n > 0 && is_blank(*s->at)) {
		s->at++;
		s->n--;
	}
}

/* Up to the next blank; an empty word is the end. */
static struct span
next_word(struct span *s)
{
	struct span word;
	size_t n = 0;

	skip_blanks(s);
	while (n < s->n && !is_blank(s->at[n]))
		n++;
	word = (struct span){s->at, n};
	s->at += n;
	s->n -= n;
	return word;
}

static bool
is_word(struct span s, const char *word)
{
	return s.n == strlen(word) && strncasecmp(s.at, word, s.n) == 0;
}

static bool
is_all_digits(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.at[i] < '0' || s.at[i] > '9')
			return false;
	return s.n > 0;
}

static const struct {
	const char *name;
	enum resp_code code;
} resp_codes[] = {
    {"IN-USE", RESP_IN_USE},
    {"LOGIN-DELAY", RESP_LOGIN_DELAY},
    {"SYS/TEMP", RESP_SYS_TEMP},
    {"SYS/PERM", RESP_SYS_PERM},
    {"AUTH", RESP_AUTH},
    {"UTF8", RESP_UTF8},
};

#define N_RESP_CODES (sizeof(resp_codes) / sizeof(resp_codes[0]))

/* Codes are hierarchical: what is known of "SYS/TEMP/DISK" holds. */
static enum resp_code
resp_code(const char *name, size_t n)
{
	for (size_t i = 0; i < N_RESP_CODES; i++) {
		size_t len = strlen(resp_codes[i].name);

		if (n >= len &&
		    strncasecmp(name, resp_codes[i].name, len) == 0 &&
		    (n == len || name[len] == '/'))
			return resp_codes[i].code;
	}
	return RESP_UNKNOWN;
}

static enum resp_code
parse_resp_code(const char *text, size_t n)
{
	size_t end = 1;

	if (n == 0 || text[0] != '[')
		return RESP_NONE;
	while (end < n && end <= RESP_CODE_MAX && text[end] > ' ' &&
	    text[end] < 0x7f && text[end] != ']')
		end++;
	if (end == n || end == 1 || text[end] != ']')
		return RESP_NONE;
	return resp_code(text + 1, end - 1);
}

/* hMailServer says "+ERR", which begins like a yes and is a no. */
bool
parse_status(const char *line, size_t n, struct status_line *status)
{
	struct span rest = {line, n};
	bool ok = n >= 3 && memcmp(line, "+OK", 3) == 0;
	bool refused = n >= 4 &&
	    (memcmp(line, "-ERR", 4) == 0 || memcmp(line, "+ERR", 4) == 0);
	size_t width = ok ? 3 : 4;

	*status = (struct status_line){.ok = false};
	if (!(ok || refused) || (n > width && !is_blank(line[width])))
		return false;
	rest.at += width;
	rest.n -= width;
	skip_blanks(&rest);
	status->ok = ok;
	status->text = rest.at;
	status->text_len = rest.n;
	status->code = parse_resp_code(rest.at, rest.n);
	return true;
}

void
parse_capabilities_init(struct capabilities *capa)
{
	*capa = (struct capabilities){.expire_days = -1, .login_delay = -1};
}

/* A count of days or seconds; -1 for one that is none. */
static int64_t
capability_count(struct span word)
{
	uint64_t value;

	if (!text_to_number(word.at, word.n, PARSE_NUMBER_MAX, &value))
		return -1;
	return (int64_t)value;
}

/* Only what RFC 4422 allows in a name, only what fits. */
static void
add_mechanism(struct capabilities *capa, struct span word)
{
	size_t used = strlen(capa->sasl), from = used;

	if (used + word.n + 2 > sizeof(capa->sasl))
		return;
	if (used > 0)
		capa->sasl[used++] = ' ';
	for (size_t i = 0; i < word.n; i++) {
		char c = word.at[i];

		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '-' || c == '_')) {
			memset(capa->sasl + from, 0, sizeof(capa->sasl) - from);
			return;
		}
		capa->sasl[used++] = c;
	}
}

static const struct {
	const char *tag;
	size_t flag;
} flags[] = {
    {"TOP", offsetof(struct capabilities, top)},
    {"USER", offsetof(struct capabilities, user)},
    {"UIDL", offsetof(struct capabilities, uidl)},
    {"STLS", offsetof(struct capabilities, stls)},
    {"PIPELINING", offsetof(struct capabilities, pipelining)},
    {"RESP-CODES", offsetof(struct capabilities, resp_codes)},
    {"UTF8", offsetof(struct capabilities, utf8)},
};

void
parse_capability(const char *line, size_t n, struct capabilities *capa)
{
	struct span rest = {line, n}, tag = next_word(&rest), word;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (is_word(tag, flags[i].tag))
			*(bool *)((char *)capa + flags[i].flag) = true;
	if (is_word(tag, "SASL")) {
		while ((word = next_word(&rest)).n > 0)
			add_mechanism(capa, word);
	} else if (is_word(tag, "EXPIRE")) {
		word = next_word(&rest);
		capa->expire_never = is_word(word, "NEVER");
		capa->expire_days = capability_count(word);
		capa->expire_user = is_word(next_word(&rest), "USER");
	} else if (is_word(tag, "LOGIN-DELAY")) {
		capa->login_delay = capability_count(next_word(&rest));
	} else if (is_word(tag, "IMPLEMENTATION")) {
		skip_blanks(&rest);
		text_escape(capa->implementation, sizeof(capa->implementation),
		    rest.at, rest.n);
	}
}

/* SmarterMail's totals go negative, others' could go too far: neither says
 * anything but that it is a number.  False if it is not even that. */
static bool
parse_size(struct span word, uint64_t *octets)
{
	if (text_to_number(word.at, word.n, UINT64_MAX, octets))
		return true;
	*octets = UINT64_MAX;
	if (word.n > 0 && *word.at == '-') {
		word.at++;
		word.n--;
	}
	return is_all_digits(word);
}

bool
parse_stat(const char *text, size_t n, uint64_t *count, uint64_t *octets)
{
	struct span rest = {text, n}, word = next_word(&rest);

	if (!text_to_number(word.at, word.n, PARSE_NUMBER_MAX, count))
		return false;
	/* Nothing depends on the total, so it may be missing as well. */
	if (!parse_size(next_word(&rest), octets))
		*octets = UINT64_MAX;
	return true;
}

/* Once over its digits: each message of a listing has one. */
static bool
next_message_number(struct span *s, uint32_t *number)
{
	uint64_t value = 0;
	size_t n = 0;

	skip_blanks(s);
	while (n < s->n && s->at[n] >= '0' && s->at[n] <= '9' &&
	    value <= PARSE_NUMBER_MAX)
		value = value * 10 + (uint64_t)(s->at[n++] - '0');
	if (value == 0 || value > PARSE_NUMBER_MAX ||
	    (n < s->n && !is_blank(s->at[n])))
		return false;
	*number = (uint32_t)value;
	s->at += n;
	s->n -= n;
	return true;
}

bool
parse_list_line(const char *line, size_t n, uint32_t *number, uint64_t *octets)
{
	struct span rest = {line, n};

	return next_message_number(&rest, number) &&
	    parse_size(next_word(&rest), octets);
}

bool
parse_uidl_line(const char *line, size_t n, uint32_t *number, const char **uid,
    size_t *uid_len)
{
	struct span rest = {line, n};

	if (!next_message_number(&rest, number))
		return false;
	skip_blanks(&rest);
	while (rest.n > 0 && is_blank(rest.at[rest.n - 1]))
		rest.n--;
	*uid = rest.at;
	*uid_len = rest.n;
	return true;
}

/* An atom's character (RFC 822 section 3.3). */
static bool
is_atom_char(char c)
{
	return c > ' ' && c < 0x7f && strchr("()<>@,;:\\\".[]", c) == NULL;
}

/* The length of atoms with a dot between each two, 0 if there are none. */
static size_t
dot_atom(struct span s)
{
	size_t i = 0;

	while (i < s.n && is_atom_char(s.at[i])) {
		while (i < s.n && is_atom_char(s.at[i]))
			i++;
		if (i == s.n || s.at[i] != '.')
			return i;
		i++;
	}
	return 0;
}

/* The length of the msg-id that s begins with, 0 if it is none. */
static size_t
msg_id(struct span s)
{
	size_t local, domain;

	if (s.n > MSG_ID_MAX)
		s.n = MSG_ID_MAX;
	local = dot_atom((struct span){s.at + 1, s.n - 1});
	if (local == 0 || local + 2 > s.n || s.at[local + 1] != '@')
		return 0;
	domain = dot_atom((struct span){s.at + local + 2, s.n - local - 2});
	if (domain == 0 || local + domain + 3 > s.n ||
	    s.at[local + domain + 2] != '>')
		return 0;
	return local + domain + 3;
}

const char *
parse_apop_timestamp(const char *line, size_t n, size_t *len)
{
	const char *end = line + n, *at = line;

	while ((at = memchr(at, '<', (size_t)(end - at))) != NULL) {
		*len = msg_id((struct span){at, (size_t)(end - at)});
		if (*len > 0)
			return at;
		/* Nothing inside of brackets that are wrong can be right. */
		at = memchr(at, '>', (size_t)(end - at));
		if (at == NULL)
			break;
	}
	return NULL;
}
