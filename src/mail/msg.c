/* SPDX-License-Identifier: ISC */
#include "mail/msg.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/digest.h"
#include "base/mem.h"

/* Longer than any field name that matters, with blanks before the colon. */
#define NAME_MAX_KEPT 32

/* An address list of which the first address is wanted. */
struct address {
	enum {
		ADDRESS_PLAIN,
		ADDRESS_ANGLE, /* behind "<" */
		ADDRESS_DONE,
	} state;
	bool found;
	bool quoted;	      /* inside of "..." */
	bool escaped;	      /* behind a backslash in quotes or comments */
	bool has_at;	      /* one outside of quotes */
	bool bad;	      /* blanks, controls, too long */
	unsigned int comment; /* nested so deep */
	size_t len;
	char text[MSG_SENDER_MAX];
};

struct msg {
	uint64_t size;
	uint64_t hash;	       /* 0: not known yet */
	struct digest *digest; /* NULL while all of it is pending */
	enum {
		LINE_START,
		FIELD_NAME,
		FIELD_BODY,
		BLANK_LINE, /* so far */
		PAST_HEADER,
	} state;
	bool excluded; /* the field is not hashed */
	bool has_message_id;
	struct address *reader; /* the field is an address that is wanted */
	struct address return_path;
	struct address from;
	size_t name_len;
	size_t n_pending;
	char name[NAME_MAX_KEPT];
	char pending[8192]; /* to be hashed: most headers fit as a whole */
};

enum field {
	FIELD_OTHER,
	FIELD_REWRITTEN, /* by servers */
	FIELD_MESSAGE_ID,
	FIELD_RETURN_PATH,
	FIELD_FROM,
};

#define NAME(name) (name), sizeof(name) - 1

static const struct {
	const char *name;
	size_t n;
	enum field field;
} fields[] = {
    {NAME("Status"), FIELD_REWRITTEN},
    {NAME("X-Status"), FIELD_REWRITTEN},
    {NAME("X-UID"), FIELD_REWRITTEN},
    {NAME("X-UIDL"), FIELD_REWRITTEN},
    {NAME("X-Keywords"), FIELD_REWRITTEN},
    {NAME("X-IMAP"), FIELD_REWRITTEN},
    {NAME("X-IMAPbase"), FIELD_REWRITTEN},
    {NAME("Content-Length"), FIELD_REWRITTEN},
    {NAME("Lines"), FIELD_REWRITTEN},
    {NAME("Message-ID"), FIELD_MESSAGE_ID},
    {NAME("Return-Path"), FIELD_RETURN_PATH},
    {NAME("From"), FIELD_FROM},
};

#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

struct msg *
msg_new(void)
{
	struct msg *msg = mem_zero(1, sizeof(*msg));

	msg_begin(msg);
	return msg;
}

static void
drop_digest(struct msg *msg)
{
	uint8_t sha256[DIGEST_SHA256_SIZE];

	if (msg->digest != NULL)
		digest_finish(msg->digest, sha256);
	msg->digest = NULL;
}

void
msg_begin(struct msg *msg)
{
	drop_digest(msg);
	msg->size = 0;
	msg->hash = 0;
	msg->state = LINE_START;
	msg->excluded = false;
	msg->has_message_id = false;
	msg->reader = NULL;
	msg->return_path = (struct address){.state = ADDRESS_PLAIN};
	msg->from = (struct address){.state = ADDRESS_PLAIN};
	msg->name_len = 0;
	msg->n_pending = 0;
}

void
msg_free(struct msg *msg)
{
	if (msg == NULL)
		return;
	drop_digest(msg);
	free(msg);
}

static void
hash_bytes(struct msg *msg, const char *data, size_t n)
{
	if (n > sizeof(msg->pending) - msg->n_pending) {
		if (msg->digest == NULL)
			msg->digest = digest_new();
		digest_update(msg->digest, msg->pending, msg->n_pending);
		msg->n_pending = 0;
	}
	if (n > sizeof(msg->pending)) {
		digest_update(msg->digest, data, n);
		return;
	}
	memcpy(msg->pending + msg->n_pending, data, n);
	msg->n_pending += n;
}

static void
address_clear(struct address *address)
{
	address->found = false;
	address->has_at = false;
	address->bad = false;
	address->len = 0;
	address->text[0] = '\0';
}

static void
address_add(struct address *address, char c)
{
	if (c <= ' ' || c > '~' || address->len + 1 >= sizeof(address->text)) {
		address->bad = true;
		return;
	}
	if (c == '@' && !address->quoted)
		address->has_at = true;
	address->text[address->len++] = c;
	address->text[address->len] = '\0';
}

/* A word outside of "<>" is an address if it has an "@". */
static void
address_end_word(struct address *address)
{
	if (address->found)
		return;
	if (address->has_at && !address->bad)
		address->found = true;
	else
		address_clear(address);
}

static void
address_take_plain(struct address *address, char c)
{
	switch (c) {
	case '<':
		address->state = ADDRESS_ANGLE;
		address_clear(address);
		break;
	case ' ':
	case '\t':
	case '\r':
	case '\n':
	case ':':
		address_end_word(address);
		break;
	case ',':
	case ';':
		address_end_word(address);
		if (address->found)
			address->state = ADDRESS_DONE;
		break;
	default:
		if (!address->found)
			address_add(address, c);
	}
}

static void
address_take_angle(struct address *address, char c)
{
	if (c == '>') {
		address->state = ADDRESS_DONE;
		address->found = !address->bad;
	} else if (c == ':' && address->len > 0 && address->text[0] == '@')
		address_clear(address); /* the route of RFC 822 ends */
	else if (address->len > 0 || strchr(" \t\r\n", c) == NULL)
		address_add(address, c);
}

/* True for all that belongs to a comment. */
static bool
address_skip_comment(struct address *address, char c, bool escaped)
{
	if (address->quoted || (address->comment == 0 && c != '('))
		return false;
	if (c == '(' && !escaped)
		address->comment++;
	else if (c == ')' && !escaped)
		address->comment--;
	return true;
}

static void
address_take(struct address *address, char c)
{
	bool escaped = address->escaped;

	if (address->state == ADDRESS_DONE)
		return;
	address->escaped =
	    c == '\\' && !escaped && (address->quoted || address->comment > 0);
	if (address_skip_comment(address, c, escaped))
		return;
	if (c == '"' && !escaped)
		address->quoted = !address->quoted;
	if (address->state == ADDRESS_ANGLE && !address->quoted)
		address_take_angle(address, c);
	else if (address->state == ADDRESS_PLAIN && !address->quoted)
		address_take_plain(address, c);
	else if (!address->found)
		address_add(address, c);
}

static void
field_bytes(struct msg *msg, const char *data, size_t n)
{
	struct address *reader = msg->reader;

	if (!msg->excluded)
		hash_bytes(msg, data, n);
	for (size_t i = 0; reader != NULL && i < n; i++)
		address_take(reader, data[i]);
}

/* The field ends where a line begins that does not continue it. */
static void
field_end(struct msg *msg)
{
	if (msg->reader != NULL && msg->reader->state == ADDRESS_PLAIN)
		address_end_word(msg->reader);
	if (msg->reader != NULL)
		msg->reader->state = ADDRESS_DONE;
	msg->reader = NULL;
	msg->excluded = false;
}

/* Letters in either case differ in one bit. */
static bool
begins_alike(const char *name, const char *other)
{
	return ((name[0] ^ other[0]) & ~0x20) == 0;
}

static enum field
field_named(const char *name, size_t n)
{
	for (size_t i = 0; i < N_FIELDS; i++)
		if (n == fields[i].n && begins_alike(name, fields[i].name) &&
		    strncasecmp(name, fields[i].name, n) == 0)
			return fields[i].field;
	return FIELD_OTHER;
}

/* The name is whole when its colon has come: what is to be done with it? */
static void
field_begin(struct msg *msg)
{
	size_t n = msg->name_len - 1;

	while (n > 0 && (msg->name[n - 1] == ' ' || msg->name[n - 1] == '\t'))
		n--;
	switch (field_named(msg->name, n)) {
	case FIELD_REWRITTEN:
		msg->excluded = true;
		break;
	case FIELD_MESSAGE_ID:
		msg->has_message_id = true;
		break;
	case FIELD_RETURN_PATH:
		msg->reader = &msg->return_path;
		break;
	case FIELD_FROM:
		msg->reader = &msg->from;
		break;
	case FIELD_OTHER:
		break;
	}
	/* The first of several counts. */
	if (msg->reader != NULL && msg->reader->state == ADDRESS_DONE)
		msg->reader = NULL;
	if (!msg->excluded)
		hash_bytes(msg, msg->name, msg->name_len);
	msg->name_len = 0;
	msg->state = FIELD_BODY;
}

/* It grew too long for a name, or the line has no colon: an odd line. */
static void
name_give_up(struct msg *msg)
{
	hash_bytes(msg, msg->name, msg->name_len);
	msg->name_len = 0;
	msg->state = FIELD_BODY;
}

static size_t
take_name(struct msg *msg, const char *data, size_t n)
{
	size_t room = sizeof(msg->name) - msg->name_len, i = 0;
	bool whole;

	n = n < room ? n : room;
	while (i < n && data[i] != ':' && data[i] != '\n')
		i++;
	whole = i < n && data[i] == ':';
	i += whole;
	memcpy(msg->name + msg->name_len, data, i);
	msg->name_len += i;
	if (whole)
		field_begin(msg);
	else if (i < n || i == room)
		name_give_up(msg);
	return i;
}

static size_t
take_body(struct msg *msg, const char *data, size_t n)
{
	const char *end = memchr(data, '\n', n);
	size_t taken = end != NULL ? (size_t)(end - data) + 1 : n;

	field_bytes(msg, data, taken);
	if (end != NULL)
		msg->state = LINE_START;
	return taken;
}

static void
start_line(struct msg *msg, char first)
{
	if (first == ' ' || first == '\t') {
		msg->state = FIELD_BODY;
		return;
	}
	field_end(msg);
	msg->state = first == '\n' || first == '\r' ? BLANK_LINE : FIELD_NAME;
}

/* A line of nothing but carriage returns ends a header as well: whatever the
 * server thinks of it, TOP and RETR agree up to there. */
static size_t
take_blank(struct msg *msg, const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\n') {
			msg->state = PAST_HEADER;
			return i;
		}
		if (data[i] != '\r') {
			msg->state = FIELD_NAME;
			return i;
		}
		if (msg->name_len == sizeof(msg->name) - 1)
			continue;
		msg->name[msg->name_len++] = '\r';
	}
	return n;
}

void
msg_feed(struct msg *msg, const char *data, size_t n)
{
	size_t at = 0;

	msg->size += n;
	while (at < n && msg->state != PAST_HEADER) {
		switch (msg->state) {
		case LINE_START:
			start_line(msg, data[at]);
			break;
		case FIELD_NAME:
			at += take_name(msg, data + at, n - at);
			break;
		case FIELD_BODY:
			at += take_body(msg, data + at, n - at);
			break;
		case BLANK_LINE:
			at += take_blank(msg, data + at, n - at);
			break;
		case PAST_HEADER:
			break;
		}
	}
}

static void
finish_digest(struct msg *msg, uint8_t sha256[DIGEST_SHA256_SIZE])
{
	if (msg->digest == NULL) {
		digest_sha256(msg->pending, msg->n_pending, sha256);
		return;
	}
	digest_update(msg->digest, msg->pending, msg->n_pending);
	digest_finish(msg->digest, sha256);
	msg->digest = NULL;
}

static void
finish(struct msg *msg)
{
	uint8_t sha256[DIGEST_SHA256_SIZE];

	if (msg->hash != 0)
		return;
	/* A last line that is cut off counts like a whole one. */
	if (msg->state == FIELD_NAME)
		name_give_up(msg);
	if (msg->state == FIELD_BODY)
		field_bytes(msg, "\n", 1);
	field_end(msg);
	msg->state = PAST_HEADER;
	finish_digest(msg, sha256);
	msg->hash = digest_short(sha256);
	if (msg->hash == 0)
		msg->hash = 1;
}

uint64_t
msg_header_hash(struct msg *msg)
{
	finish(msg);
	return msg->hash;
}

bool
msg_has_message_id(const struct msg *msg)
{
	return msg->has_message_id;
}

uint64_t
msg_size(const struct msg *msg)
{
	return msg->size;
}

const char *
msg_sender(const struct msg *msg)
{
	if (msg->return_path.found)
		return msg->return_path.text;
	return msg->from.found ? msg->from.text : "";
}
