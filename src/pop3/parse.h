/* SPDX-License-Identifier: ISC */
/* What a server's lines mean.  Pure: bytes in, facts out. */
#ifndef POP3_PARSE_H
#define POP3_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Response codes (RFC 2449 section 8, RFC 3206). */
enum resp_code {
	RESP_NONE,
	RESP_IN_USE,
	RESP_LOGIN_DELAY,
	RESP_SYS_TEMP,
	RESP_SYS_PERM,
	RESP_AUTH,
	RESP_UTF8,
	RESP_UNKNOWN,
};

/* A status line: "+OK" or "-ERR", perhaps a code, then text. */
struct status_line {
	bool ok;
	enum resp_code code;
	const char *text; /* behind the indicator; points into the line */
	size_t text_len;
};

/* False if it is neither "+OK" nor "-ERR" (or "+ERR", which some servers say
 * for it) followed by a blank or the end; upper case only (RFC 1939). */
bool parse_status(const char *line, size_t n, struct status_line *status);

/* Capabilities (RFC 2449 section 6 and later). */
struct capabilities {
	bool known; /* CAPA was answered +OK */
	bool top, user, uidl, stls, pipelining, resp_codes, utf8;
	bool expire_never;
	bool expire_user;	  /* the least of all users' days */
	int64_t expire_days;	  /* -1: not announced */
	int64_t login_delay;	  /* seconds, -1: not announced */
	char implementation[128]; /* printable */
	char sasl[256]; /* mechanisms, upper case, one blank between */
};

/* Nothing is known, nothing announced. */
void parse_capabilities_init(struct capabilities *capa);

/* Take one line of the answer to CAPA; unknown ones are passed over. */
void parse_capability(const char *line, size_t n, struct capabilities *capa);

/* The drop listing of STAT: text behind "+OK".  Sizes that are negative or
 * too large are taken for unknown (UINT64_MAX); false: no count at all. */
bool parse_stat(const char *text, size_t n, uint64_t *count, uint64_t *octets);

#define PARSE_NUMBER_MAX 0x7fffffff /* greatest message number */

/* A scan listing: "NUMBER SIZE" with blanks between; what follows is passed
 * over (RFC 1939 section 5, LIST).  False if it is no such line. */
bool parse_list_line(
    const char *line, size_t n, uint32_t *number, uint64_t *octets);

/* A unique-id listing: "NUMBER UID"; the UID is all the rest, any bytes, one
 * trailing blank run removed; an empty one is allowed (*uid_len 0). */
bool parse_uidl_line(const char *line, size_t n, uint32_t *number,
    const char **uid, size_t *uid_len);

/*
 * The timestamp for APOP, anywhere in a greeting: a msg-id of RFC 822, strict
 * ASCII, brackets included (CVE-2007-1558).  Points into the line, NULL if
 * there is none that can be trusted.
 */
const char *parse_apop_timestamp(const char *line, size_t n, size_t *len);

#endif
