/* SPDX-License-Identifier: ISC */
#include "pop3/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"
#include "pop3/unstuff.h"
#include "pop3/window.h"

/* Octets that a multi-line response must bring in each timeout. */
#define RESPONSE_SPAN 4096
#define CAPA_MAX 1048576
#define TRACED_LINES 20
#define QUEUE_MIN 16

/* What follows a status line that is ok. */
enum response {
	RESPONSE_NONE,
	RESPONSE_LISTING,
	RESPONSE_MESSAGE,
};

/* What of the arguments nobody may see. */
enum secret {
	SECRET_NONE,
	SECRET_ALL,
	SECRET_LAST_WORD,
	SECRET_BUT_FIRST_WORD,
};

static const struct command {
	const char *name;
	enum response response;
	enum secret secret;
	const char *tail; /* sent behind a message number */
} command_table[] = {
    [CMD_GREETING] = {.name = ""},
    [CMD_CAPA] = {.name = "CAPA", .response = RESPONSE_LISTING},
    [CMD_STLS] = {.name = "STLS"},
    [CMD_USER] = {.name = "USER"},
    [CMD_PASS] = {.name = "PASS", .secret = SECRET_ALL},
    [CMD_APOP] = {.name = "APOP", .secret = SECRET_LAST_WORD},
    [CMD_AUTH] = {.name = "AUTH", .secret = SECRET_BUT_FIRST_WORD},
    [CMD_UTF8] = {.name = "UTF8"},
    [CMD_STAT] = {.name = "STAT"},
    [CMD_NOOP] = {.name = "NOOP"},
    [CMD_UIDL] = {.name = "UIDL", .response = RESPONSE_LISTING},
    [CMD_LIST] = {.name = "LIST", .response = RESPONSE_LISTING},
    [CMD_TOP] = {.name = "TOP", .response = RESPONSE_MESSAGE, .tail = " 0"},
    [CMD_RETR] = {.name = "RETR", .response = RESPONSE_MESSAGE},
    [CMD_DELE] = {.name = "DELE"},
    [CMD_QUIT] = {.name = "QUIT"},
};

struct queued {
	enum client_command command;
	enum response response;
	uint32_t number;
	uint64_t expected;
	char *args; /* perhaps a secret; gone as soon as it is sent */
};

struct client {
	struct conn *conn;

	/* A ring: the first sent ones of count are in flight. */
	struct queued *queue;
	size_t cap;
	size_t head;
	size_t count;
	size_t sent;

	uint64_t in_flight; /* octets that the sent ones may bring */
	struct window window;

	bool given_up;

	/* The multi-line response that is being read. */
	enum response reading;
	enum client_command listing;
	size_t lines;
	uint64_t listed; /* octets of these lines */
};

struct client *
client_open(struct conn *conn)
{
	struct client *client = mem_zero(1, sizeof(*client));

	client->conn = conn;
	client_window(client, 1, UINT64_MAX);
	return client;
}

void
client_close(struct client *client)
{
	if (client == NULL)
		return;
	client_drop_unsent(client);
	free(client->queue);
	free(client);
}

void
client_window(struct client *client, size_t commands, uint64_t octets)
{
	window_set(&client->window, commands, octets, octets);
}

void
client_window_follows(struct client *client, uint64_t most)
{
	client->window.most = most;
}

/* The command as a person knows it: "RETR 3". */
static char *
describe(enum client_command command, uint32_t number, char *dst, size_t size)
{
	const char *name = command_table[command].name;

	if (command == CMD_GREETING)
		snprintf(dst, size, "the connection");
	else if (number > 0)
		snprintf(dst, size, "%s %lu", name, (unsigned long)number);
	else
		snprintf(dst, size, "%s", name);
	return dst;
}

static int
out_of_turn(struct err *err)
{
	return err_set(err, ERR_SOFTWARE,
	    "a response was asked for that is not the next one");
}

static struct queued *
slot(const struct client *client, size_t i)
{
	return &client->queue[(client->head + i) % client->cap];
}

static void
push(struct client *client, const struct queued *queued)
{
	if (client->count == client->cap) {
		size_t cap = client->cap > 0 ? 2 * client->cap : QUEUE_MIN;
		struct queued *queue = mem_zero(cap, sizeof(*queue));

		for (size_t i = 0; i < client->count; i++)
			queue[i] = *slot(client, i);
		free(client->queue);
		client->queue = queue;
		client->cap = cap;
		client->head = 0;
	}
	*slot(client, client->count++) = *queued;
}

int
client_queue(struct client *client, enum client_command command,
    const char *args, struct err *err)
{
	struct queued queued = {
	    .command = command, .response = command_table[command].response};

	if (args != NULL && strpbrk(args, "\r\n") != NULL)
		return err_set(err, ERR_CONFIG,
		    "what is sent with %s may not hold a line end",
		    command_table[command].name);
	if (args != NULL) {
		queued.args = mem_dup(args);
		/* About one message, a listing is a single line. */
		if (queued.response == RESPONSE_LISTING)
			queued.response = RESPONSE_NONE;
	}
	push(client, &queued);
	return 0;
}

void
client_queue_message(struct client *client, enum client_command command,
    uint32_t number, uint64_t expected)
{
	struct queued queued = {.command = command,
	    .response = command_table[command].response,
	    .number = number,
	    .expected = expected};

	if (queued.response == RESPONSE_LISTING)
		queued.response = RESPONSE_NONE;
	push(client, &queued);
}

size_t
client_queued(const struct client *client)
{
	return client->count;
}

enum client_command
client_next(const struct client *client)
{
	return client->count > 0 ? slot(client, 0)->command : CMD_GREETING;
}

void
client_drop_unsent(struct client *client)
{
	while (client->count > client->sent)
		mem_free_secret(slot(client, --client->count)->args);
}

static void
trace_sent(const struct command *command, const char *line, size_t n)
{
	const char *cut = NULL;
	char text[512];

	if (!log_wants(LOG_AT_DEBUG))
		return;
	if (command->secret == SECRET_ALL)
		cut = memchr(line, ' ', n);
	else if (command->secret == SECRET_LAST_WORD)
		cut = memrchr(line, ' ', n);
	else if (command->secret == SECRET_BUT_FIRST_WORD)
		cut = memchr(line + strlen(command->name) + 1, ' ',
		    n - strlen(command->name) - 1);
	if (cut != NULL)
		n = (size_t)(cut - line);
	log_say(LOG_AT_DEBUG, "> %s%s",
	    log_printable(text, sizeof(text), line, n),
	    cut != NULL ? " ****" : "");
}

static void
send_next(struct client *client)
{
	struct queued *queued = slot(client, client->sent++);
	const struct command *command = &command_table[queued->command];
	struct buf line = {0};

	client->in_flight += queued->expected;
	if (queued->command == CMD_GREETING)
		return;
	/* Room at once: a buffer that grows leaves copies behind. */
	buf_room(&line, 64 + (queued->args != NULL ? strlen(queued->args) : 0));
	buf_puts(&line, command->name);
	if (queued->number > 0) {
		buf_puts(&line, " ");
		buf_put_number(&line, queued->number);
		buf_puts(&line, command->tail != NULL ? command->tail : "");
	}
	if (queued->args != NULL) {
		buf_puts(&line, " ");
		buf_puts(&line, queued->args);
	}
	trace_sent(command, line.data, line.len);
	buf_puts(&line, "\r\n");
	conn_send(client->conn, line.data, line.len);
	buf_wipe(&line);
	mem_free_secret(queued->args);
	queued->args = NULL;
}

/* What the window allows. */
static void
refill(struct client *client)
{
	size_t before = client->sent;

	if (!window_is_open(&client->window, client->sent, client->in_flight))
		return;
	while (client->sent < client->count &&
	    window_has_room(&client->window, client->sent, client->in_flight,
		slot(client, client->sent)->expected))
		send_next(client);
	if (client->sent > before)
		window_sent(&client->window, before, client->sent,
		    client->in_flight, wait_clock());
	conn_push(client->conn);
}

static struct queued
pop(struct client *client)
{
	struct queued oldest = *slot(client, 0);

	client->in_flight -= oldest.expected;
	client->head = (client->head + 1) % client->cap;
	client->count--;
	client->sent--;
	window_replied(&client->window, wait_clock());
	return oldest;
}

static int
not_a_reply(
    const struct queued *queued, const char *line, size_t n, struct err *err)
{
	char what[32], text[512];

	log_printable(text, sizeof(text), line, n);
	log_say(LOG_AT_DEBUG, "< %s", text);
	return err_set(err, ERR_PROTOCOL, "the answer to %s is no reply: %s",
	    describe(queued->command, queued->number, what, sizeof(what)),
	    n > 0 ? text : "an empty line");
}

/* "+" and base64; some servers leave out the blank between them. */
static bool
take_challenge(const struct queued *queued, const char *line, size_t n,
    struct client_reply *reply)
{
	size_t width = 1;

	if (queued->command != CMD_AUTH || n == 0 || line[0] != '+')
		return false;
	while (width < n && line[width] == ' ')
		width++;
	reply->challenge = true;
	reply->text = line + width;
	reply->text_len = n - width;
	return true;
}

/* The first line of a reply, which the oldest command is done with unless it
 * is a challenge. */
static int
take_reply(struct client *client, const char *line, size_t n,
    struct client_reply *reply, struct err *err)
{
	struct queued *oldest = slot(client, 0);
	struct status_line status;

	reply->command = oldest->command;
	reply->number = oldest->number;
	if (parse_status(line, n, &status)) {
		reply->ok = status.ok;
		reply->code = status.code;
		reply->text = status.text;
		reply->text_len = status.text_len;
		return 0;
	}
	if (take_challenge(oldest, line, n, reply))
		return 0;
	client_give_up(client);
	return not_a_reply(oldest, line, n, err);
}

/* What follows the first line. */
static void
begin_response(struct client *client, const struct queued *queued)
{
	client->reading = queued->response;
	client->listing = queued->command;
	client->lines = 0;
	client->listed = 0;
}

/* What a server says to each of a million messages, nobody reads. */
static bool
is_shown(const struct client_reply *reply)
{
	return !reply->ok || reply->number == 0 || log_wants(LOG_AT_DEBUG);
}

static void
trace_reply(const struct client_reply *reply, const char *line)
{
	int width = reply->challenge ? 1 : reply->ok ? 3 : 4;

	log_say(LOG_AT_DEBUG, "< %.*s%s%s", width, line,
	    reply->text_len > 0 ? " " : "", reply->printable);
}

int
client_reply(struct client *client, struct client_reply *reply, struct err *err)
{
	struct queued oldest;
	const char *line;
	size_t n;

	*reply = (struct client_reply){.ok = false};
	if (client->count == 0 || client->reading != RESPONSE_NONE)
		return out_of_turn(err);
	window_arrived(&client->window, wait_clock());
	refill(client);
	conn_expect(client->conn, 0);
	if (conn_line(client->conn, &line, &n, err) == -1 ||
	    take_reply(client, line, n, reply, err) == -1)
		return -1;
	if (is_shown(reply))
		log_printable(reply->printable, sizeof(reply->printable),
		    reply->text, reply->text_len);
	trace_reply(reply, line);
	if (reply->challenge)
		return 0;
	oldest = pop(client);
	if (reply->ok)
		begin_response(client, &oldest);
	return 0;
}

void
client_respond(struct client *client, const char *response)
{
	bool is_short = response[0] == '\0' || strcmp(response, "*") == 0;
	const struct queued again = {.command = CMD_AUTH};

	/* It was done with, by a yes that stands for a challenge. */
	if (client->count == 0) {
		push(client, &again);
		client->sent++;
	}
	log_say(LOG_AT_DEBUG, "> %s", is_short ? response : "****");
	conn_send(client->conn, response, strlen(response));
	conn_send(client->conn, "\r\n", 2);
	conn_push(client->conn);
}

int
client_refused(
    const struct client_reply *reply, enum err_class class, struct err *err)
{
	char what[32];

	describe(reply->command, reply->number, what, sizeof(what));
	if (reply->printable[0] == '\0')
		return err_set(
		    err, class, "server says no to %s without a reason", what);
	return err_set(
	    err, class, "server says no to %s: %s", what, reply->printable);
}

/* The next piece into the sink, unless that has failed before. */
static int
body_piece(struct client *client, struct client_body *body,
    struct unstuff *unstuffer, bool *refused, struct err *err)
{
	struct err ignored, *reason = *refused ? &ignored : err;
	const char *out;
	size_t n, used, produced;
	char *data;

	if (conn_chunk(client->conn, &data, &n, reason) == -1)
		return -1;
	used = unstuff(unstuffer, data, n, &out, &produced);
	body->octets = unstuffer->octets;
	if (body->limit > 0 && body->octets > body->limit)
		return err_set(reason, ERR_TEMPFAIL,
		    "the message is larger than %llu octets",
		    (unsigned long long)body->limit);
	if (produced > 0 && !*refused &&
	    body->sink(body->context, out, produced, err) == -1)
		*refused = true;
	window_brought(&client->window, used);
	conn_consume(client->conn, used);
	return 0;
}

int
client_body(struct client *client, struct client_body *body, struct err *err)
{
	struct unstuff unstuffer;
	bool refused = false;

	body->octets = 0;
	body->in_step = false;
	if (client->reading != RESPONSE_MESSAGE)
		return out_of_turn(err);
	unstuff_init(&unstuffer);
	conn_expect(client->conn, RESPONSE_SPAN);
	while (unstuffer.state != UNSTUFF_DONE)
		if (body_piece(client, body, &unstuffer, &refused, err) == -1)
			return -1;
	log_say(
	    LOG_AT_DEBUG, "< (%llu octets)", (unsigned long long)body->octets);
	client->reading = RESPONSE_NONE;
	body->in_step = true;
	return refused ? -1 : 0;
}

static void
trace_listed(size_t lines, const char *line, size_t n)
{
	char text[512];

	if (!log_wants(LOG_AT_DEBUG) || lines > TRACED_LINES + 1)
		return;
	if (lines > TRACED_LINES)
		log_say(LOG_AT_DEBUG, "< ...");
	else
		log_say(LOG_AT_DEBUG, "< %s",
		    log_printable(text, sizeof(text), line, n));
}

int
client_next_line(
    struct client *client, const char **line, size_t *n, struct err *err)
{
	if (client->reading != RESPONSE_LISTING)
		return out_of_turn(err);
	/* CAPA has one deadline from its status line to its end. */
	if (client->lines++ == 0 && client->listing != CMD_CAPA)
		conn_expect(client->conn, RESPONSE_SPAN);
	if (conn_line(client->conn, line, n, err) == -1)
		return -1;
	client->listed += *n + 2;
	if (client->listing == CMD_CAPA && client->listed > CAPA_MAX)
		return err_set(err, ERR_PROTOCOL,
		    "the answer to CAPA is longer than %d octets", CAPA_MAX);
	trace_listed(client->lines, *line, *n);
	if (*n == 0 || **line != '.')
		return 1;
	if (*n == 1) {
		client->reading = RESPONSE_NONE;
		return 0;
	}
	++*line;
	--*n;
	return 1;
}

/* The text that will be shown must not hold a secret; in the words that are
 * compared, what looks like one is only a word. */
static void
take_capability(struct capabilities *capa, const char *line, size_t n)
{
	struct capabilities shown = *capa;
	struct buf masked = {0};

	buf_room(&masked, n + 1);
	buf_append(&masked, line, n);
	parse_capability(masked.data, log_masked(masked.data, n), &shown);
	parse_capability(line, n, capa);
	memcpy(capa->implementation, shown.implementation,
	    sizeof(capa->implementation));
	buf_wipe(&masked);
}

int
client_capa(struct client *client, struct capabilities *capa, struct err *err)
{
	struct client_reply reply;
	const char *line = NULL;
	size_t n = 0;
	int more;

	parse_capabilities_init(capa);
	if (client->count > 0)
		return out_of_turn(err);
	if (client_queue(client, CMD_CAPA, NULL, err) == -1 ||
	    client_reply(client, &reply, err) == -1)
		return -1;
	if (!reply.ok)
		return 0;
	while ((more = client_next_line(client, &line, &n, err)) == 1)
		take_capability(capa, line, n);
	capa->known = more == 0;
	return more;
}

bool
client_in_step(const struct client *client)
{
	return !client->given_up && client->reading == RESPONSE_NONE;
}

void
client_give_up(struct client *client)
{
	client->given_up = true;
}

bool
client_unasked_input(struct client *client)
{
	return client->sent == 0 && client->reading == RESPONSE_NONE &&
	    conn_has_input(client->conn);
}
