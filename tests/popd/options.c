/* SPDX-License-Identifier: ISC */
/* The table of options and what reads it. */
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "text.h"

enum kind {
	FLAG,
	NUMBER,
	TEXT,
	WORDS,
	CUSTOM
};

typedef void setter(struct options *, const char *);

struct row {
	const char *name;
	enum mode modes;
	enum kind kind;
	size_t offset;	/* of the member, unless CUSTOM */
	setter *custom; /* if CUSTOM */
	const char *argument, *help;
};

static void
set_tls(struct options *o, const char *value)
{
	static const char *const names[] = {"none", "implicit", "stls", "both"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(value, names[i]) == 0) {
			o->tls = (enum tls_mode)i;
			return;
		}
	}
	errx(2, "--tls is none, implicit, stls or both, not \"%s\"", value);
}

static void
set_cut_hard(struct options *o, const char *value)
{
	(void)value;
	o->shape.cut_how = END_HARD;
}

static void
set_cut_reset(struct options *o, const char *value)
{
	(void)value;
	o->shape.cut_how = END_RESET;
}

static void
set_user(struct options *o, const char *value)
{
	char *name = text_copy(value), *colon = strchr(name, ':');

	if (colon == NULL || o->user_count == LIST_MAX)
		errx(2, "--user %s: not NAME:PASS, or too many", value);
	*colon = '\0';
	o->users[o->user_count++] = (struct user){name, colon + 1};
}

static int64_t
number(const char *name, const char *value)
{
	const char *why;
	int64_t n = strtonum(value, INT64_MIN, INT64_MAX, &why);

	if (why != NULL)
		errx(2, "%s: \"%s\" is %s", name, value, why);
	return n;
}

static void
set_resp(struct options *o, const char *value)
{
	char *command = text_copy(value), *text = strchr(command, '=');
	struct answer a = {.command = command, .times = -1};
	char *times;
	ssize_t len;

	if (text == NULL || o->answer_count == LIST_MAX)
		errx(2, "--resp %s: not CMD=TEXT, or too many", value);
	*text++ = '\0';
	if ((times = strchr(command, '#')) != NULL) {
		*times++ = '\0';
		a.times = number("--resp", times);
	}
	if ((len = text_unescape(text)) == -1)
		errx(2, "--resp %s: bad escape", value);
	a.text = text;
	a.text_len = (size_t)len;
	o->answers[o->answer_count++] = a;
}

static void
set_synthetic(struct options *o, const char *value)
{
	char *count = text_copy(value), *size = strchr(count, ':');

	if (size == NULL)
		errx(2, "--synthetic %s: not N:SIZE", value);
	*size++ = '\0';
	o->synthetic_count = number("--synthetic", count);
	o->synthetic_size = number("--synthetic", size);
	free(count);
}

#define AT(member) offsetof(struct options, member), NULL
#define BY(function) 0, function

static const struct row table[] = {
    {"listen", MODE_ANY, WORDS, AT(listen), "ADDR",
	"address to listen on (127.0.0.1), repeatable"},
    {"port", MODE_ANY, NUMBER, AT(port), "N", "port (0: any)"},
    {"tls-port", MODE_ANY, NUMBER, AT(tls_port), "N",
	"second port of --tls both (0: any)"},
    {"unix", MODE_ANY, TEXT, AT(unix_path), "PATH", "also a unix socket"},
    {"stdio", MODE_ANY, FLAG, AT(stdio), NULL,
	"one connection: standard input and output"},
    {"port-file", MODE_ANY, TEXT, AT(port_file), "FILE",
	"write the port here (-: standard output) when listening"},
    {"until-eof", MODE_ANY, FLAG, AT(until_eof), NULL,
	"end when standard input does"},
    {"lifetime", MODE_ANY, NUMBER, AT(lifetime), "S",
	"end after so many seconds (600), as a failure"},
    {"max-connections", MODE_ANY, NUMBER, AT(max_connections), "N",
	"end after so many connections"},
    {"log", MODE_ANY, TEXT, AT(log), "FILE", "the conversation, appended"},
    {"tls", MODE_ANY, CUSTOM, BY(set_tls), "HOW",
	"implicit, stls, or both (on two ports)"},
    {"tls-cert", MODE_ANY, TEXT, AT(tls_cert), "FILE", "PEM"},
    {"tls-key", MODE_ANY, TEXT, AT(tls_key), "FILE", "PEM"},
    {"tls-priorities", MODE_ANY, TEXT, AT(tls_priorities), "TEXT",
	"GnuTLS priority string"},
    {"tls-ocsp", MODE_ANY, TEXT, AT(tls_ocsp), "FILE",
	"staple this OCSP response (DER)"},
    {"tls-client-ca", MODE_ANY, TEXT, AT(tls_client_ca), "FILE",
	"require a client certificate that this one (PEM) signed"},
    {"latency", MODE_ANY, NUMBER, AT(shape.latency), "MS",
	"a line is seen so much later than it came"},
    {"rate", MODE_ANY, NUMBER, AT(shape.rate), "N", "octets a second"},
    {"drip", MODE_ANY, NUMBER, AT(shape.drip), "MS",
	"single octets, so far apart"},
    {"chunk", MODE_ANY, NUMBER, AT(shape.chunk), "N",
	"octets in a write or TLS record at most"},
    {"cut-after", MODE_ANY, NUMBER, AT(shape.cut_after), "N",
	"close after having sent N octets"},
    {"cut-hard", MODE_ANY, CUSTOM, BY(set_cut_hard), NULL,
	"by RST, or under TLS without close_notify"},
    {"cut-reset", MODE_ANY, CUSTOM, BY(set_cut_reset), NULL, "always by RST"},
    {"stall-after", MODE_ANY, NUMBER, AT(shape.stall_after), "N",
	"send no more after N octets, but stay"},
    {"at", MODE_MAILBOX, TEXT, AT(at), "CMD",
	"cut and stall count from this command on (\"RETR 3\")"},
    {"on-connection", MODE_ANY, NUMBER, AT(on_connection), "N",
	"cut and stall on the Nth connection only"},
    {"lf", MODE_MAILBOX, FLAG, AT(lf), NULL,
	"files have LF line ends; sent as CRLF"},
    {"no-stuff", MODE_MAILBOX, FLAG, AT(no_stuff), NULL,
	"do not double dots at the start of a line"},
    {"synthetic", MODE_MAILBOX, CUSTOM, BY(set_synthetic), "N:SIZE",
	"N generated messages instead of DIR"},
    {"exclude-last", MODE_MAILBOX, NUMBER, AT(exclude_last), "N",
	"as if the last N messages were not there"},
    {"hide", MODE_MAILBOX, WORDS, AT(hide), "N",
	"as if message number N had been deleted, repeatable"},
    {"size-off", MODE_MAILBOX, NUMBER, AT(size_off), "N",
	"add N to every size announced"},
    {"uid-prefix", MODE_MAILBOX, TEXT, AT(uid_prefix), "TEXT",
	"put before every unique-id"},
    {"user", MODE_MAILBOX, CUSTOM, BY(set_user), "NAME:PASS",
	"who may log in (anyone), repeatable"},
    {"apop", MODE_MAILBOX, FLAG, AT(apop), NULL, "offer APOP"},
    {"sasl", MODE_MAILBOX, TEXT, AT(sasl), "MECHANISM ...",
	"offer AUTH with these, by GNU SASL"},
    {"sasl-other-tls", MODE_MAILBOX, FLAG, AT(sasl_other_tls), NULL,
	"bind AUTH to another TLS session than this"},
    {"greeting", MODE_MAILBOX, TEXT, AT(greeting), "TEXT",
	"after +OK, or a whole line if it begins with + or -"},
    {"capa", MODE_MAILBOX, WORDS, AT(capa), "LINE",
	"one more capability, repeatable"},
    {"no-capa", MODE_MAILBOX, FLAG, AT(no_capa), NULL, "no CAPA"},
    {"no-uidl", MODE_MAILBOX, FLAG, AT(no_uidl), NULL, "no UIDL"},
    {"uidl-err", MODE_MAILBOX, FLAG, AT(uidl_err), NULL,
	"UIDL announced, but fails"},
    {"no-top", MODE_MAILBOX, FLAG, AT(no_top), NULL, "no TOP"},
    {"no-pipelining", MODE_MAILBOX, FLAG, AT(no_pipelining), NULL,
	"PIPELINING is not announced"},
    {"reverse", MODE_MAILBOX, FLAG, AT(reverse), NULL,
	"listings from the last message to the first"},
    {"resp", MODE_MAILBOX, CUSTOM, BY(set_resp), "CMD[#K]=TEXT",
	"answer this command (the first K times) so, repeatable"},
    {"no-delete", MODE_MAILBOX, FLAG, AT(no_delete), NULL,
	"DELE is answered but not honoured"},
    {"lock", MODE_MAILBOX, FLAG, AT(lock), NULL,
	"one session a user, else -ERR [IN-USE]"},
    {"quit-eof", MODE_MAILBOX, FLAG, AT(quit_eof), NULL,
	"QUIT closes without an answer"},
    {"repeat", MODE_SCRIPT, FLAG, AT(repeat), NULL,
	"the last script serves all further connections"},
    {"wait", MODE_SCRIPT, NUMBER, AT(wait), "MS",
	"how long a step waits for the client (10000)"},
};

enum {
	ROWS = sizeof(table) / sizeof(table[0])
};

static void
add_word(const char *name, struct words *list, const char *word)
{
	if (list->count == LIST_MAX)
		errx(2, "--%s: too many", name);
	list->word[list->count++] = word;
}

static void
apply(struct options *o, const struct row *r, const char *value)
{
	void *member = (char *)o + r->offset;

	switch (r->kind) {
	case FLAG:
		*(bool *)member = true;
		break;
	case NUMBER:
		*(int64_t *)member = number(r->name, value);
		break;
	case TEXT:
		*(const char **)member = value;
		break;
	case WORDS:
		add_word(r->name, member, value);
		break;
	case CUSTOM:
		r->custom(o, value);
		break;
	}
}

/* The operands that the mode wants. */
static void
take_operands(struct options *o, enum mode mode, int argc, char **argv)
{
	int left = argc - optind;

	if (mode == MODE_SCRIPT) {
		if (left == 0)
			errx(2, "which script?");
		o->scripts = argv + optind;
		o->script_count = (size_t)left;
	} else if (o->synthetic_count >= 0) {
		if (left != 0)
			errx(2, "--synthetic takes no directory");
	} else {
		if (left != 1)
			errx(2, "which directory?");
		o->dir = argv[optind];
	}
	if (o->stdio && o->until_eof)
		errx(2, "--stdio and --until-eof exclude each other");
	if (o->listen.count > LISTEN_MAX)
		errx(2, "--listen: too many");
}

void
options_parse(struct options *o, enum mode mode, int argc, char **argv)
{
	struct option longs[ROWS + 1] = {0};
	int i;

	for (i = 0; i < ROWS; i++) {
		longs[i].name = table[i].name;
		longs[i].has_arg =
		    table[i].argument == NULL ? no_argument : required_argument;
	}
	*o = (struct options){
	    .lifetime = 600,
	    .wait = 10000,
	    .synthetic_count = -1,
	    .shape = {.cut_after = -1, .stall_after = -1},
	};
	while ((i = -1, getopt_long(argc, argv, "", longs, &i)) != -1) {
		if (i == -1)
			exit(2);
		if ((table[i].modes & mode) == 0)
			errx(2, "--%s is not for this mode", table[i].name);
		apply(o, &table[i], optarg);
	}
	take_operands(o, mode, argc, argv);
}

void
options_usage(void)
{
	static const char *const modes[] = {"", "mailbox", "script", ""};

	for (size_t i = 0; i < ROWS; i++) {
		char left[40];

		snprintf(left, sizeof(left), "--%s%s%s", table[i].name,
		    table[i].argument == NULL ? "" : " ",
		    table[i].argument == NULL ? "" : table[i].argument);
		printf("  %-24s %-8s%s\n", left, modes[table[i].modes],
		    table[i].help);
	}
}
