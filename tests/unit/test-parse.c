/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"
#include "pop3/parse.h"
#include "tap.h"

/* Lines are copied to memory of their own size: no byte behind is read. */
static char *
exact(const char *line, size_t n)
{
	char *copy = mem_alloc(n > 0 ? n : 1);

	memcpy(copy, line, n);
	return copy;
}

/* For the name of a test. */
static const char *
shown(const char *line, size_t n)
{
	static char name[128];

	return text_escape(name, sizeof(name), line, n);
}

struct status_case {
	const char *line;
	bool valid, ok;
	enum resp_code code;
	const char *text;
};

static const struct status_case status_cases[] = {
    {"+OK", true, true, RESP_NONE, ""},
    {"+OK ", true, true, RESP_NONE, ""},
    {"+OK ready", true, true, RESP_NONE, "ready"},
    {"+OK\tready ", true, true, RESP_NONE, "ready "},
    {"+OK   two  blanks", true, true, RESP_NONE, "two  blanks"},
    {"-ERR", true, false, RESP_NONE, ""},
    {"-ERR no", true, false, RESP_NONE, "no"},
    {"+ERR no", true, false, RESP_NONE, "no"},
    {"-ERR [IN-USE] locked", true, false, RESP_IN_USE, "[IN-USE] locked"},
    {"-ERR [in-use]", true, false, RESP_IN_USE, "[in-use]"},
    {"-ERR [LOGIN-DELAY] wait", true, false, RESP_LOGIN_DELAY,
	"[LOGIN-DELAY] wait"},
    {"-ERR [SYS/TEMP] x", true, false, RESP_SYS_TEMP, "[SYS/TEMP] x"},
    {"-ERR [SYS/TEMP/DISK]x", true, false, RESP_SYS_TEMP, "[SYS/TEMP/DISK]x"},
    {"-ERR [SYS/PERM] x", true, false, RESP_SYS_PERM, "[SYS/PERM] x"},
    {"-ERR [AUTH] x", true, false, RESP_AUTH, "[AUTH] x"},
    {"-ERR [UTF8] x", true, false, RESP_UTF8, "[UTF8] x"},
    {"+OK [AUTH] x", true, true, RESP_AUTH, "[AUTH] x"},
    {"-ERR [SYS] x", true, false, RESP_UNKNOWN, "[SYS] x"},
    {"-ERR [SYS/TEMPO] x", true, false, RESP_UNKNOWN, "[SYS/TEMPO] x"},
    {"-ERR [AUTHX] x", true, false, RESP_UNKNOWN, "[AUTHX] x"},
    {"-ERR [] x", true, false, RESP_NONE, "[] x"},
    {"-ERR [AUTH x", true, false, RESP_NONE, "[AUTH x"},
    {"-ERR [AUTH", true, false, RESP_NONE, "[AUTH"},
    {"-ERR [AU TH] x", true, false, RESP_NONE, "[AU TH] x"},
    {"-ERR [AUTH\x80] x", true, false, RESP_NONE, "[AUTH\x80] x"},
    {"-ERR no [AUTH]", true, false, RESP_NONE, "no [AUTH]"},
    {"", false, false, RESP_NONE, NULL},
    {"+", false, false, RESP_NONE, NULL},
    {"+O", false, false, RESP_NONE, NULL},
    {"+OKtext", false, false, RESP_NONE, NULL},
    {"+OK\x80", false, false, RESP_NONE, NULL},
    {"+ok", false, false, RESP_NONE, NULL},
    {"+Ok", false, false, RESP_NONE, NULL},
    {"-err", false, false, RESP_NONE, NULL},
    {"-ER", false, false, RESP_NONE, NULL},
    {"-ERRNO", false, false, RESP_NONE, NULL},
    {"-OK", false, false, RESP_NONE, NULL},
    {" +OK", false, false, RESP_NONE, NULL},
    {"OK", false, false, RESP_NONE, NULL},
    {"+ idling", false, false, RESP_NONE, NULL},
    {"* OK", false, false, RESP_NONE, NULL},
};

static void
test_status(void)
{
	for (size_t i = 0; i < sizeof(status_cases) / sizeof(*status_cases);
	     i++) {
		const struct status_case *c = &status_cases[i];
		size_t n = strlen(c->line);
		char *line = exact(c->line, n);
		struct status_line s;
		bool right = parse_status(line, n, &s) == c->valid;

		if (c->valid)
			right = right && s.ok == c->ok && s.code == c->code &&
			    s.text_len == strlen(c->text) &&
			    memcmp(s.text, c->text, s.text_len) == 0;
		else
			right = right && !s.ok;
		tap_ok(right, "status line \"%s\"", shown(line, n));
		free(line);
	}
}

static void
add(struct capabilities *capa, const char *text)
{
	char *line = exact(text, strlen(text));

	parse_capability(line, strlen(text), capa);
	free(line);
}

static void
test_capability_words(void)
{
	struct capabilities capa;

	memset(&capa, 0xff, sizeof(capa));
	parse_capabilities_init(&capa);
	tap_ok(!capa.known && !capa.top && !capa.pipelining &&
		capa.expire_days == -1 && capa.login_delay == -1 &&
		capa.sasl[0] == '\0' && capa.implementation[0] == '\0',
	    "nothing is known at first");
	add(&capa, "TOPX");
	add(&capa, "TO");
	add(&capa, "");
	add(&capa, "X-TOP TOP USER");
	tap_ok(!capa.top && !capa.user, "other tags are passed over");
	add(&capa, "top");
	tap_ok(capa.top && !capa.user, "tags in any case");
	add(&capa, "USER");
	add(&capa, " UIDL ");
	add(&capa, "STLS");
	add(&capa, "Pipelining");
	add(&capa, "RESP-CODES");
	add(&capa, "UTF8 USER");
	tap_ok(capa.user && capa.uidl && capa.stls && capa.pipelining &&
		capa.resp_codes && capa.utf8,
	    "each tag has its flag");
}

static void
test_capability_counts(void)
{
	struct capabilities capa;

	parse_capabilities_init(&capa);
	add(&capa, "EXPIRE 30 USER");
	add(&capa, "LOGIN-DELAY 900");
	tap_ok(capa.expire_days == 30 && !capa.expire_never && capa.expire_user,
	    "EXPIRE 30 USER");
	tap_ok(capa.login_delay == 900, "LOGIN-DELAY 900");
	add(&capa, "EXPIRE never");
	tap_ok(capa.expire_days == -1 && capa.expire_never && !capa.expire_user,
	    "EXPIRE never");
	add(&capa, "EXPIRE 0");
	tap_ok(capa.expire_days == 0 && !capa.expire_never, "EXPIRE 0");
	add(&capa, "EXPIRE -1");
	add(&capa, "LOGIN-DELAY 99999999999999999999");
	tap_ok(capa.expire_days == -1 && capa.login_delay == -1,
	    "counts that are none are not announced");
	add(&capa, "LOGIN-DELAY 1");
	add(&capa, "LOGIN-DELAY");
	tap_ok(capa.login_delay == -1, "no count at all");
}

static void
test_capability_text(void)
{
	struct capabilities capa;
	char many[4096] = "SASL";

	parse_capabilities_init(&capa);
	add(&capa, "SASL plain  CRAM-MD5\tSCRAM-SHA-256-PLUS ");
	tap_is(capa.sasl, "PLAIN CRAM-MD5 SCRAM-SHA-256-PLUS", "mechanisms");
	add(&capa, "SASL \x1b[m XOAUTH2 PL\x80IN");
	tap_is(capa.sasl, "PLAIN CRAM-MD5 SCRAM-SHA-256-PLUS XOAUTH2",
	    "names that are none are left out");
	parse_capabilities_init(&capa);
	add(&capa, "SASL \x80 PLAIN");
	tap_is(capa.sasl, "PLAIN", "even as the first");
	for (int i = 0; i < 500; i++)
		strcat(many, " ABCDEF");
	add(&capa, many);
	tap_ok(strlen(capa.sasl) == 5 + 7 * 35, "bounded, whole names only");
	parse_capabilities_init(&capa);
	add(&capa, "SASL PLAIN");
	memset(many + 5, 'A', 250);
	many[255] = '\0';
	add(&capa, many);
	tap_is(capa.sasl, "PLAIN", "a name that does not fit by one");
	many[254] = '\0';
	add(&capa, many);
	tap_ok(strlen(capa.sasl) == 255, "one that fits");
	add(&capa, "IMPLEMENTATION Server v1\x1b[31m \\ \xc3\xa4");
	tap_is(capa.implementation, "Server v1\\x1b[31m \\\\ \xc3\xa4",
	    "the implementation is escaped");
	memset(many, 'A', sizeof(many) - 1);
	memcpy(many, "IMPLEMENTATION ", 15);
	add(&capa, many);
	tap_ok(strlen(capa.implementation) < sizeof(capa.implementation),
	    "and cut");
}

struct listing_case {
	const char *line;
	bool valid;
	uint64_t number;
	uint64_t octets;
};

static const struct listing_case list_cases[] = {
    {"1 120", true, 1, 120},
    {"  2\t \t300  ", true, 2, 300},
    {"3 0", true, 3, 0},
    {"2147483647 1", true, 2147483647, 1},
    {"4 18446744073709551614", true, 4, UINT64_MAX - 1},
    {"4 18446744073709551616", true, 4, UINT64_MAX},
    {"4 99999999999999999999999999", true, 4, UINT64_MAX},
    {"5 -2147483648", true, 5, UINT64_MAX},
    {"6 10 octets", true, 6, 10},
    {"007 0010", true, 7, 10},
    {"", false, 0, 0},
    {" ", false, 0, 0},
    {"1", false, 0, 0},
    {"1 ", false, 0, 0},
    {"0 10", false, 0, 0},
    {"2147483648 10", false, 0, 0},
    {"4294967297 10", false, 0, 0},
    {"18446744073709551617 10", false, 0, 0},
    {"-1 10", false, 0, 0},
    {"+1 10", false, 0, 0},
    {"1x 10", false, 0, 0},
    {"0x1 10", false, 0, 0},
    {"1 10x", false, 0, 0},
    {"1 +10", false, 0, 0},
    {"1 -", false, 0, 0},
    {"1 --1", false, 0, 0},
    {"1 1e3", false, 0, 0},
    {"x", false, 0, 0},
    {"1,10", false, 0, 0},
};

static const struct listing_case stat_cases[] = {
    {"2 320", true, 2, 320},
    {"0 0", true, 0, 0},
    {"  3  \t 40 extra", true, 3, 40},
    {"3 -2089234", true, 3, UINT64_MAX},
    {"3 99999999999999999999999", true, 3, UINT64_MAX},
    {"3", true, 3, UINT64_MAX},
    {"3 messages (40 octets)", true, 3, UINT64_MAX},
    {"", false, 0, 0},
    {"-1 4", false, 0, 0},
    {"x 4", false, 0, 0},
    {"2147483648 4", false, 0, 0},
    {"18446744073709551618 4", false, 0, 0},
    {"you have mail", false, 0, 0},
};

static void
test_listings(void)
{
	for (size_t i = 0; i < sizeof(list_cases) / sizeof(*list_cases); i++) {
		const struct listing_case *c = &list_cases[i];
		size_t n = strlen(c->line);
		char *line = exact(c->line, n);
		uint64_t octets = 0;
		uint32_t number = 0;
		bool valid = parse_list_line(line, n, &number, &octets);

		tap_ok(valid == c->valid &&
			(!valid ||
			    (number == c->number && octets == c->octets)),
		    "scan listing \"%s\"", shown(line, n));
		free(line);
	}
	for (size_t i = 0; i < sizeof(stat_cases) / sizeof(*stat_cases); i++) {
		const struct listing_case *c = &stat_cases[i];
		size_t n = strlen(c->line);
		char *line = exact(c->line, n);
		uint64_t octets = 0, count = 0;
		bool valid = parse_stat(line, n, &count, &octets);

		tap_ok(valid == c->valid &&
			(!valid || (count == c->number && octets == c->octets)),
		    "drop listing \"%s\"", shown(line, n));
		free(line);
	}
}

static const struct uidl_case {
	const char *line;
	size_t n;
	bool valid;
	uint32_t number;
	const char *uid;
	size_t uid_len;
} uidl_cases[] = {
    {"1 abc", 5, true, 1, "abc", 3},
    {" 2   \t abc \t", 12, true, 2, "abc", 3},
    {"3 a b  c", 8, true, 3, "a b  c", 6},
    {"4", 1, true, 4, "", 0},
    {"5   ", 4, true, 5, "", 0},
    {"6 \0\xff\r", 5, true, 6, "\0\xff\r", 3},
    {"7 ../../x;rm", 12, true, 7, "../../x;rm", 10},
    {"8 #x", 4, true, 8, "#x", 2},
    {"0 abc", 5, false, 0, NULL, 0},
    {"", 0, false, 0, NULL, 0},
    {"abc", 3, false, 0, NULL, 0},
    {"1abc", 4, false, 0, NULL, 0},
    {"1\0abc", 5, false, 0, NULL, 0},
    {"2147483648 abc", 14, false, 0, NULL, 0},
    {"4294967297 abc", 14, false, 0, NULL, 0},
    {"-1 abc", 6, false, 0, NULL, 0},
};

static void
test_uidl(void)
{
	for (size_t i = 0; i < sizeof(uidl_cases) / sizeof(*uidl_cases); i++) {
		const struct uidl_case *c = &uidl_cases[i];
		char *line = exact(c->line, c->n);
		const char *uid = NULL;
		size_t uid_len = 0;
		uint32_t number = 0;
		bool valid =
		    parse_uidl_line(line, c->n, &number, &uid, &uid_len);

		tap_ok(valid == c->valid &&
			(!valid ||
			    (number == c->number && uid_len == c->uid_len &&
				memcmp(uid, c->uid, uid_len) == 0)),
		    "unique-id listing \"%s\"", shown(line, c->n));
		free(line);
	}
}

static const struct apop_case {
	const char *line;
	const char *timestamp;
} apop_cases[] = {
    {"+OK POP3 ready <1896.697170952@dbc.mtview.ca.us>",
	"<1896.697170952@dbc.mtview.ca.us>"},
    {"+OK <1.2@h> ready", "<1.2@h>"},
    {"+OK ready.<1@h>", "<1@h>"},
    {"+OK <admin> asks <1@h>", "<1@h>"},
    {"+OK <a@b@c> <1@h> <2@h>", "<1@h>"},
    {"+OK <4d2.1.5f+/bc==@host-1.example>", "<4d2.1.5f+/bc==@host-1.example>"},
    {"+OK ready", NULL},
    {"+OK <", NULL},
    {"+OK <1@h", NULL},
    {"+OK 1@h>", NULL},
    {"+OK <>", NULL},
    {"+OK <@>", NULL},
    {"+OK <1@>", NULL},
    {"+OK <@h>", NULL},
    {"+OK <1>", NULL},
    {"+OK <1@h@h>", NULL},
    {"+OK <<1@h>", NULL},
    {"+OK <<1@h>>", NULL},
    {"+OK <1@<2@h>", NULL},
    {"+OK <1 2@h>", NULL},
    {"+OK <1\t@h>", NULL},
    {"+OK < 1@h>", NULL},
    {"+OK <1@h >", NULL},
    {"+OK <1\x80@h>", NULL},
    {"+OK <1@h\xff>", NULL},
    {"+OK <1\x01@h>", NULL},
    {"+OK <1\x7f@h>", NULL},
    {"+OK <\"1\"@h>", NULL},
    {"+OK <1\\@h>", NULL},
    {"+OK <1@[10.0.0.1]>", NULL},
    {"+OK <(c)1@h>", NULL},
    {"+OK <1;2@h>", NULL},
    {"+OK <1:2@h>", NULL},
    {"+OK <1,2@h>", NULL},
    {"+OK <.1@h>", NULL},
    {"+OK <1.@h>", NULL},
    {"+OK <1..2@h>", NULL},
    {"+OK <1@h.>", NULL},
    {"+OK <1@.h>", NULL},
    {"+OK <1@h..i>", NULL},
    {"", NULL},
};

static void
test_apop(void)
{
	char long_line[700] = "<";
	size_t len;

	for (size_t i = 0; i < sizeof(apop_cases) / sizeof(*apop_cases); i++) {
		const struct apop_case *c = &apop_cases[i];
		char *line = exact(c->line, strlen(c->line));
		const char *got =
		    parse_apop_timestamp(line, strlen(c->line), &len);

		tap_ok((got == NULL) == (c->timestamp == NULL) &&
			(got == NULL ||
			    (len == strlen(c->timestamp) &&
				memcmp(got, c->timestamp, len) == 0)),
		    "timestamp in \"%s\"", shown(line, strlen(c->line)));
		free(line);
	}
	tap_ok(parse_apop_timestamp("<1\0@h>", 6, &len) == NULL,
	    "no NUL in a timestamp");
	memset(long_line + 1, 'x', 508);
	memcpy(long_line + 509, "@h>", 3);
	tap_ok(parse_apop_timestamp(long_line, 512, &len) != NULL && len == 512,
	    "a long timestamp");
	memmove(long_line + 2, long_line + 1, 511);
	tap_ok(parse_apop_timestamp(long_line, 513, &len) == NULL,
	    "one that is too long");
}

int
main(void)
{
	test_status();
	test_capability_words();
	test_capability_counts();
	test_capability_text();
	test_listings();
	test_uidl();
	test_apop();
	return tap_done();
}
