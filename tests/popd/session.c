/* SPDX-License-Identifier: ISC */
/* One POP3 session of the mailbox mode: RFC 1939, 2449, 2595. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "log.h"
#include "mailbox.h"
#include "pop3.h"
#include "sasl.h"
#include "session.h"
#include "text.h"

enum {
	HANDSHAKE = 30000,
	LINE_SIZE = 60000
};

struct session {
	struct connection *c;
	struct stream *out;
	const struct options *options;
	struct pop3 *pop3;
	struct mailbox *mailbox; /* after the login */
	char *user;		 /* after USER */
	char *timestamp;	 /* for APOP */
	bool done;
	char line[LINE_SIZE];
};

typedef void verb(struct session *, const char *argument);

enum state {
	AUTHORIZATION = 1,
	TRANSACTION = 2,
	ANY_STATE = 3
};

struct command {
	const char *name;
	verb *run;
	enum state states;
};

static void
reply(struct session *s, const char *text)
{
	stream_puts(s->out, text);
	stream_puts(s->out, "\r\n");
}

/* The end of a line: two numbers. */
static void
put_numbers(struct session *s, int64_t first, int64_t second)
{
	stream_put_number(s->out, first);
	stream_put(s->out, " ", 1);
	stream_put_number(s->out, second);
	stream_puts(s->out, "\r\n");
}

/* Authorization state. */

static const struct user *
find_user(const struct session *s, const char *name)
{
	for (size_t i = 0; i < s->options->user_count; i++)
		if (strcmp(s->options->users[i].name, name) == 0)
			return &s->options->users[i];
	return NULL;
}

static void
log_in(struct session *s)
{
	if (!pop3_hold(s->pop3, s->user)) {
		reply(s, "-ERR [IN-USE] another session has the mailbox");
		return;
	}
	if ((s->mailbox = pop3_open_mailbox(s->pop3)) == NULL) {
		pop3_release(s->pop3, s->user);
		reply(s, "-ERR [SYS/TEMP] the mailbox cannot be read");
		return;
	}
	reply(s, "+OK logged in");
}

static void
set_user(struct session *s, const char *name, size_t len)
{
	free(s->user);
	s->user = text_copy_some(name, len);
}

static void
do_user(struct session *s, const char *argument)
{
	set_user(s, argument, strlen(argument));
	reply(s, "+OK");
}

static void
do_pass(struct session *s, const char *argument)
{
	const struct user *u;

	if (s->user == NULL) {
		reply(s, "-ERR USER first");
		return;
	}
	u = find_user(s, s->user);
	if (s->options->user_count > 0 &&
	    (u == NULL || strcmp(u->password, argument) != 0))
		reply(s, "-ERR [AUTH] wrong user or password");
	else
		log_in(s);
}

static void
do_apop(struct session *s, const char *argument)
{
	size_t len = strcspn(argument, " ");
	const struct user *u;
	char digest[33] = "";

	if (s->timestamp == NULL || argument[len] == '\0') {
		reply(s, "-ERR no APOP");
		return;
	}
	set_user(s, argument, len);
	if ((u = find_user(s, s->user)) != NULL)
		tls_md5(s->timestamp, u->password, digest);
	if (s->options->user_count > 0 &&
	    strcmp(digest, argument + len + 1) != 0)
		reply(s, "-ERR [AUTH] wrong user or digest");
	else
		log_in(s);
}

static void
do_auth(struct session *s, const char *argument)
{
	char *user;

	if (!sasl_exchange(s->c, argument, &user))
		return;
	free(s->user);
	s->user = user;
	log_in(s);
}

static bool
offers_stls(const struct session *s)
{
	enum tls_mode mode = s->options->tls;

	return !s->c->secure && (mode == TLS_STLS || mode == TLS_BOTH);
}

static void
do_stls(struct session *s, const char *argument)
{
	const char *why;

	(void)argument;
	if (!offers_stls(s)) {
		reply(s, "-ERR no STLS");
		return;
	}
	reply(s, "+OK begin");
	if (!stream_flush(s->out)) {
		s->done = true;
		return;
	}
	/* What came in plain text must not count. */
	stream_discard(s->out);
	free(s->user);
	s->user = NULL;
	if (!connection_start_tls(s->c, HANDSHAKE, &why))
		s->done = true;
}

/* Any state. */

static void
do_capa(struct session *s, const char *argument)
{
	const struct options *o = s->options;

	(void)argument;
	if (o->no_capa) {
		reply(s, "-ERR unknown command");
		return;
	}
	reply(s, "+OK capabilities follow");
	if (!o->no_top)
		reply(s, "TOP");
	if (!o->no_uidl)
		reply(s, "UIDL");
	if (!o->no_pipelining)
		reply(s, "PIPELINING");
	if (offers_stls(s))
		reply(s, "STLS");
	if (o->sasl != NULL) {
		stream_puts(s->out, "SASL ");
		reply(s, o->sasl);
	}
	for (size_t i = 0; i < o->capa.count; i++)
		reply(s, o->capa.word[i]);
	reply(s, "USER\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n.");
}

static void
leave(struct session *s)
{
	if (s->mailbox != NULL)
		pop3_release(s->pop3, s->user);
	mailbox_free(s->mailbox);
	s->mailbox = NULL;
}

static void
do_quit(struct session *s, const char *argument)
{
	(void)argument;
	if (s->mailbox != NULL)
		mailbox_commit(s->mailbox);
	leave(s);
	if (!s->options->quit_eof)
		reply(s, "+OK bye");
	s->done = true;
}

/* Transaction state. */

/* The message that an argument names; false: none, and that was said. */
static bool
find_message(struct session *s, const char *argument, size_t *index)
{
	char *end;
	unsigned long n = strtoul(argument, &end, 10);

	if (n < 1 || n > s->mailbox->count || (*end != '\0' && *end != ' ') ||
	    s->mailbox->list[n - 1].deleted) {
		reply(s, "-ERR no such message");
		return false;
	}
	*index = n - 1;
	return true;
}

static int64_t
announced_size(const struct session *s, size_t index)
{
	return s->mailbox->list[index].size + s->options->size_off;
}

static void
totals(const struct session *s, int64_t *count, int64_t *octets)
{
	*count = *octets = 0;
	for (size_t i = 0; i < s->mailbox->count; i++) {
		if (!s->mailbox->list[i].deleted) {
			*count += 1;
			*octets += announced_size(s, i);
		}
	}
}

static void
do_stat(struct session *s, const char *argument)
{
	int64_t count, octets;

	(void)argument;
	totals(s, &count, &octets);
	stream_puts(s->out, "+OK ");
	put_numbers(s, count, octets);
}

static void
put_size(struct session *s, size_t index)
{
	put_numbers(s, (int64_t)index + 1, announced_size(s, index));
}

static void
put_uid(struct session *s, size_t index)
{
	stream_put_number(s->out, (int64_t)index + 1);
	stream_put(s->out, " ", 1);
	mailbox_put_uid(s->mailbox, index, s->out);
	stream_puts(s->out, "\r\n");
}

/* LIST and UIDL, for one or for all. */
static void
listing(struct session *s, const char *argument,
    void (*put)(struct session *, size_t))
{
	size_t count = s->mailbox->count, index;

	if (*argument != '\0') {
		if (!find_message(s, argument, &index))
			return;
		stream_puts(s->out, "+OK ");
		put(s, index);
		return;
	}
	reply(s, "+OK listing follows");
	for (size_t i = 0; i < count; i++) {
		index = s->options->reverse ? count - 1 - i : i;
		if (!s->mailbox->list[index].deleted)
			put(s, index);
	}
	reply(s, ".");
}

static void
do_list(struct session *s, const char *argument)
{
	listing(s, argument, put_size);
}

static void
do_uidl(struct session *s, const char *argument)
{
	if (s->options->no_uidl)
		reply(s, "-ERR unknown command");
	else if (s->options->uidl_err)
		reply(s, "-ERR unique-ids are not available");
	else
		listing(s, argument, put_uid);
}

static void
send_message(struct session *s, size_t index, int64_t lines)
{
	char ok[64];

	snprintf(ok, sizeof(ok), "+OK %lld octets\r\n",
	    (long long)announced_size(s, index));
	if (!mailbox_send(s->mailbox, index, lines, ok, s->out))
		reply(s, "-ERR the message is gone");
}

static void
do_retr(struct session *s, const char *argument)
{
	size_t index;

	if (find_message(s, argument, &index))
		send_message(s, index, -1);
}

static void
do_top(struct session *s, const char *argument)
{
	const char *blank = strchr(argument, ' ');
	size_t index;
	long lines;

	if (s->options->no_top) {
		reply(s, "-ERR unknown command");
		return;
	}
	lines = blank == NULL ? -1 : strtol(blank + 1, NULL, 10);
	if (lines < 0)
		reply(s, "-ERR TOP wants a message and a number of lines");
	else if (find_message(s, argument, &index))
		send_message(s, index, lines);
}

static void
do_dele(struct session *s, const char *argument)
{
	size_t index;

	if (!find_message(s, argument, &index))
		return;
	s->mailbox->list[index].deleted = true;
	reply(s, "+OK deleted");
}

static void
do_rset(struct session *s, const char *argument)
{
	(void)argument;
	for (size_t i = 0; i < s->mailbox->count; i++)
		s->mailbox->list[i].deleted = s->mailbox->list[i].hidden;
	reply(s, "+OK");
}

static void
do_noop(struct session *s, const char *argument)
{
	(void)argument;
	reply(s, "+OK");
}

static const struct command commands[] = {
    {"USER", do_user, AUTHORIZATION},
    {"PASS", do_pass, AUTHORIZATION},
    {"APOP", do_apop, AUTHORIZATION},
    {"AUTH", do_auth, AUTHORIZATION},
    {"STLS", do_stls, AUTHORIZATION},
    {"CAPA", do_capa, ANY_STATE},
    {"QUIT", do_quit, ANY_STATE},
    {"STAT", do_stat, TRANSACTION},
    {"LIST", do_list, TRANSACTION},
    {"UIDL", do_uidl, TRANSACTION},
    {"RETR", do_retr, TRANSACTION},
    {"TOP", do_top, TRANSACTION},
    {"DELE", do_dele, TRANSACTION},
    {"RSET", do_rset, TRANSACTION},
    {"NOOP", do_noop, TRANSACTION},
};

/* An answer that was planned on the command line; false: there is none. */
static bool
answer_as_told(struct session *s)
{
	const struct answer *a = pop3_answer(s->pop3, s->line);

	if (a == NULL)
		return false;
	stream_put(s->out, a->text, a->text_len);
	stream_puts(s->out, "\r\n");
	s->done = pop3_means("QUIT", s->line);
	return true;
}

static void
execute(struct session *s)
{
	enum state state = s->mailbox == NULL ? AUTHORIZATION : TRANSACTION;
	size_t len = strcspn(s->line, " ");
	const char *argument = s->line + len + (s->line[len] == ' ');

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *c = &commands[i];

		if (strlen(c->name) != len ||
		    strncasecmp(c->name, s->line, len) != 0)
			continue;
		if ((c->states & state) != 0)
			c->run(s, argument);
		else
			reply(s, "-ERR not now");
		return;
	}
	reply(s, "-ERR unknown command");
}

/* Is this the moment that --at waits for? */
static void
arm_if_due(struct session *s)
{
	const struct options *o = s->options;

	if (o->at != NULL && pop3_means(o->at, s->line) &&
	    (o->on_connection == 0 || o->on_connection == s->c->number))
		stream_arm(s->out, true);
}

/* The text between < and >, both included, is what APOP signs. */
static void
note_timestamp(struct session *s, const char *greeting)
{
	const char *start = strchr(greeting, '<'), *end;

	if (start != NULL && (end = strchr(start, '>')) != NULL)
		s->timestamp = text_copy_some(start, (size_t)(end - start) + 1);
}

static void
greet(struct session *s)
{
	const char *text = s->options->greeting;
	char made[100];
	char *line;
	ssize_t len;

	if (text == NULL) {
		snprintf(made, sizeof(made), "popd ready");
		if (s->options->apop)
			snprintf(made, sizeof(made),
			    "popd ready <%ld.%d.%lld@localhost>",
			    (long)getpid(), s->c->number,
			    (long long)text_now());
		text = made;
	}
	if (*text != '+' && *text != '-')
		stream_puts(s->out, "+OK ");
	line = text_copy(text);
	if ((len = text_unescape(line)) >= 0)
		stream_put(s->out, line, (size_t)len);
	stream_puts(s->out, "\r\n");
	if (s->options->apop)
		note_timestamp(s, line);
	s->done = *text == '-';
	free(line);
}

static void
read_command(struct session *s)
{
	size_t len;

	switch (stream_line(s->out, s->line, sizeof(s->line), &len, -1)) {
	case LINE_OK:
		break;
	case LINE_TOO_LONG:
		reply(s, "-ERR line too long");
		/* FALLTHROUGH */
	default:
		s->done = true;
		return;
	}
	if (len > 0 && s->line[len - 1] == '\r')
		s->line[--len] = '\0';
	log_line(s->c->number, s->line, len);
	arm_if_due(s);
	if (!answer_as_told(s))
		execute(s);
}

void
session_serve(struct connection *c)
{
	struct session *s = text_alloc(1, sizeof(*s));

	s->c = c;
	s->out = c->stream;
	s->options = c->options;
	s->pop3 = c->context;
	greet(s);
	while (!s->done)
		read_command(s);
	leave(s);
	free(s->timestamp);
	free(s->user);
	free(s);
}
