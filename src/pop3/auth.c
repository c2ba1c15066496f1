/* SPDX-License-Identifier: ISC */
#include "pop3/auth.h"

#include <string.h>

#include "base/mem.h"

#define COMMAND_MAX 255 /* octets of its line, CRLF and all (RFC 5034, 4) */
#define ROUNDS_MAX 16	/* GSSAPI, the longest of all, needs four */

struct exchange {
	struct client *client;
	struct sasl *sasl;
	char *held; /* the first response, until the server asks for it */
};

/* "AUTH PLAIN", with the first response where that can be taken. */
static int
begin(struct exchange *exchange, bool announced, struct err *err)
{
	struct sasl *sasl = exchange->sasl;
	const char *name = sasl_name(sasl_mechanism(sasl));
	char *args;
	int status;

	if (!announced || !sasl_has_initial_response(sasl_mechanism(sasl)))
		return client_queue(exchange->client, CMD_AUTH, name, err);
	exchange->held = sasl_step(sasl, NULL, 0, err);
	if (exchange->held == NULL)
		return -1;
	args = mem_printf(
	    "%s %s", name, exchange->held[0] != '\0' ? exchange->held : "=");
	if (strlen("AUTH ") + strlen(args) + strlen("\r\n") <= COMMAND_MAX) {
		mem_free_secret(exchange->held);
		exchange->held = NULL;
		status = client_queue(exchange->client, CMD_AUTH, args, err);
	} else {
		status = client_queue(exchange->client, CMD_AUTH, name, err);
	}
	mem_free_secret(args);
	return status;
}

static int
answer(struct exchange *exchange, const struct client_reply *reply,
    struct err *err)
{
	char *response = exchange->held;

	exchange->held = NULL;
	if (response == NULL)
		response = sasl_step(
		    exchange->sasl, reply->text, reply->text_len, err);
	if (response == NULL) {
		client_respond(exchange->client, "*");
		return -1;
	}
	client_respond(exchange->client, response);
	mem_free_secret(response);
	return 0;
}

/* Exchange 2003 says "+OK" where it asks for the first response. */
static bool
is_challenge(const struct exchange *exchange, const struct client_reply *reply)
{
	return reply->challenge ||
	    (reply->ok &&
		(exchange->held != NULL || sasl_is_silent(exchange->sasl)));
}

static int
talk(struct exchange *exchange, bool announced, struct client_reply *reply,
    struct err *err)
{
	if (begin(exchange, announced, err) == -1)
		return -1;
	for (int round = 0; round < ROUNDS_MAX; round++) {
		if (client_reply(exchange->client, reply, err) == -1)
			return -1;
		if (!is_challenge(exchange, reply))
			return reply->ok ? sasl_finish(exchange->sasl, err) : 0;
		if (answer(exchange, reply, err) == -1)
			return -1;
	}
	return err_set(err, ERR_PROTOCOL, "the server never stops asking");
}

int
auth_exchange(struct client *client, struct sasl *sasl, bool announced,
    struct auth_outcome *outcome, struct err *err)
{
	struct exchange exchange = {.client = client, .sasl = sasl};
	int status = talk(&exchange, announced, &outcome->reply, err);

	outcome->secret_sent = exchange.held == NULL && sasl_gave_secret(sasl);
	mem_free_secret(exchange.held);
	if (status == 0)
		return 0;
	client_give_up(client);
	return err_prefix(err, "AUTH %s", sasl_name(sasl_mechanism(sasl)));
}

int
auth_refused(const struct sasl *sasl, const struct client_reply *reply,
    enum err_class class, struct err *err)
{
	const char *reason = sasl_reason(sasl);
	const char *said =
	    reply->printable[0] != '\0' ? reply->printable : "no reason";

	return err_set(err, class, "server says no to AUTH %s: %s%s%s%s",
	    sasl_name(sasl_mechanism(sasl)), said,
	    reason[0] != '\0' ? " (" : "", reason,
	    reason[0] != '\0' ? ")" : "");
}
