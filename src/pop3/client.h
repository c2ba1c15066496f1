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
	CMD_UTF8,
	CMD_STAT,
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
	enum resp_code code;
	const char *text; /* raw, behind the indicator; valid until the next
			     call of the client */
	size_t text_len;
	char printable[512]; /* the text: escaped, secrets masked, cut */
};

struct client;

/* The connection stays the caller's and must outlive the client. */
struct client *client_open(struct conn *conn);
void client_close(struct client *client);

/* How much may be in flight: commands, and octets of expected replies. */
void client_window(struct client *client, size_t commands, uint64_t octets);

/*
 * Append a command; args is what follows the keyword (NULL for nothing), no
 * CR, LF or NUL in it (ERR_CONFIG).  For commands about one message, number
 * is its number and expected the octets that the reply may bring.
 */
int client_queue(struct client *client, enum client_command command,
    const char *args, struct err *err);
void client_queue_message(struct client *client, enum client_command command,
    uint32_t number, uint64_t expected);

/* Commands that are queued or in flight. */
size_t client_queued(const struct client *client);

/* Forget the commands that were not sent yet. */
void client_drop_unsent(struct client *client);

/*
 * The status line of the oldest command, sending what the window allows.
 * ERR_PROTOCOL if it is no status line; "-ERR" is a reply, not a failure.
 * Must be followed by client_body or client_next_line up to its end, if the
 * reply is ok and the command's response is multi-line.
 */
int client_reply(
    struct client *client, struct client_reply *reply, struct err *err);

/* Fill err with what the server said no to: "RETR 3: server says: ...". */
int client_refused(
    const struct client_reply *reply, enum err_class class, struct err *err);

/* Where a body goes, LF line ends, in pieces of any size; -1 ends it. */
typedef int client_sink(
    void *context, const char *data, size_t n, struct err *err);

/*
 * Stream the multi-line response.  When the sink fails, the rest is still
 * read and dropped, so that the session stays in step, and -1 is returned
 * with *in_step true; when the connection fails, *in_step is false.
 * *octets is the size of the message as it came over the wire.  A body that
 * grows beyond limit octets ends the session (0: no limit).
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
 * The next line of a multi-line response, raw, without its stuffed dot and
 * line end.  Returns 1 for a line, 0 at the end, -1 on failure.
 */
int client_next_line(
    struct client *client, const char **line, size_t *n, struct err *err);

/* Queue, send, read reply and lines of CAPA; "-ERR" leaves known false. */
int client_capa(
    struct client *client, struct capabilities *capa, struct err *err);

/* Bytes that nobody asked for have arrived: the session is out of step. */
bool client_unasked_input(struct client *client);

#endif
