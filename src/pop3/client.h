/* SPDX-License-Identifier: ISC */
/*
 * A POP3 client: commands go into a queue, replies are read in the same
 * order.  Of the queue so much is in flight as the window allows; without
 * pipelining that is one command, and nothing else changes.
 */
#ifndef POP3_CLIENT_H
#define POP3_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "pop3/parse.h"
#include "wire/conn.h"

enum client_command {
	CMD_GREETING, /* not sent, but replied to */
	CMD_CAPA,
	CMD_STLS,
	CMD_USER,
	CMD_PASS,
	CMD_APOP,
	CMD_AUTH,
	CMD_UTF8,
	CMD_STAT,
	CMD_NOOP,
	CMD_UIDL,
	CMD_LIST,
	CMD_TOP,
	CMD_RETR,
	CMD_DELE,
	CMD_QUIT,
};

struct client_reply {
	enum client_command command;
	uint32_t number; /* of the message, 0 for other commands */
	bool ok;
	bool challenge; /* of AUTH: "+", and text is the challenge; not ok */
	enum resp_code code;
	const char *text; /* raw, behind the indicator; valid until the next
			     call of the client */
	size_t text_len;
	char printable[512]; /* the text: escaped, secrets masked, cut; "" if
				it says yes about one message */
};

struct client;

/* The connection stays the caller's and must outlive the client.  Its first
 * reply is the greeting: queue CMD_GREETING for it. */
struct client *client_open(struct conn *conn);
void client_close(struct client *client);

/* How much may be in flight: commands, and octets of expected replies.  One
 * command always may; that is also what a new client begins with. */
void client_window(struct client *client, size_t commands, uint64_t octets);

/* From these octets up to most, let them follow what the line brings. */
void client_window_follows(struct client *client, uint64_t most);

/*
 * Append a command; args is what follows the keyword (NULL for nothing), no
 * CR or LF in it (ERR_CONFIG).  It is copied, and wiped once it was sent.
 * For commands about one message, number is its number and expected the
 * octets that the reply may bring; TOP asks for the header only.
 */
int client_queue(struct client *client, enum client_command command,
    const char *args, struct err *err);
void client_queue_message(struct client *client, enum client_command command,
    uint32_t number, uint64_t expected);

/* Commands that are queued or in flight. */
size_t client_queued(const struct client *client);

/* The oldest of them; CMD_GREETING if there is none. */
enum client_command client_next(const struct client *client);

/* Forget the commands that were not sent yet. */
void client_drop_unsent(struct client *client);

/*
 * The status line of the oldest command, sending what the window allows.
 * ERR_PROTOCOL if it is no status line; "-ERR" is a reply, not a failure.
 * If it is ok, the response to RETR and TOP must be read by client_body, that
 * to CAPA, UIDL and LIST (without arguments) by client_next_line, up to its
 * end, before the next reply.  To ask in another order is ERR_SOFTWARE.
 */
int client_reply(
    struct client *client, struct client_reply *reply, struct err *err);

/* The response to a challenge (or to a yes that is meant as one), a line of its
 * own, of which a trace shows nothing.  The next client_reply is the server's
 * answer to it. */
void client_respond(struct client *client, const char *response);

/* Fill err: "server says no to RETR 3: ...".  Always returns -1. */
int client_refused(
    const struct client_reply *reply, enum err_class class, struct err *err);

/* Where a body goes, LF line ends, in pieces of any size; -1 ends it. */
typedef int client_sink(
    void *context, const char *data, size_t n, struct err *err);

/*
 * Stream a message.  When the sink fails, the rest is still read and dropped,
 * so that the session stays in step: -1 is returned with in_step true.  With
 * in_step false the session is over: the connection failed, or the message
 * grew beyond limit octets (0: no limit; ERR_TEMPFAIL).  After both, err
 * holds what the sink said.  octets is the message's size as RFC 1939 counts.
 */
struct client_body {
	client_sink *sink;
	void *context;
	uint64_t limit;
	uint64_t octets;
	bool in_step;
};
int client_body(
    struct client *client, struct client_body *body, struct err *err);

/*
 * The next line of a listing, raw, without its stuffed dot and line end (a
 * bare LF is one, too, so this is not for messages), valid until the next
 * call.  Returns 1 for a line, 0 at the end, -1 on failure.  The answer to
 * CAPA may take one timeout and 1 MiB in all (ERR_PROTOCOL).
 */
int client_next_line(
    struct client *client, const char **line, size_t *n, struct err *err);

/* Queue, send, read reply and lines of CAPA; "-ERR" leaves known false.
 * Nothing else may be queued. */
int client_capa(
    struct client *client, struct capabilities *capa, struct err *err);

/*
 * Between two replies, and nothing has failed in a way that leaves no hope:
 * more replies may be read.  client_give_up ends that hope.
 */
bool client_in_step(const struct client *client);
void client_give_up(struct client *client);

/* Bytes that nobody asked for have arrived: the session is out of step. */
bool client_unasked_input(struct client *client);

#endif
