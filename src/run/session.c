/* SPDX-License-Identifier: ISC */
#include "run/session.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/wait.h"
#include "run/advice.h"
#include "run/way.h"

#define QUIT_TIMEOUT 10000 /* milliseconds; a warning, not worth a wait */

/* A line of 20 MB/s brings the first in 200 ms, one of 128 MB/s the other in
 * 500 ms. */
#define PIPELINE_COMMANDS 4000
#define PIPELINE_OCTETS (UINT64_C(4) << 20)
#define PIPELINE_OCTETS_MAX (UINT64_C(64) << 20)

enum err_class
session_class_of_no(enum resp_code code, enum err_class usual)
{
	switch (code) {
	case RESP_IN_USE:
	case RESP_LOGIN_DELAY:
	case RESP_SYS_TEMP:
		return ERR_TEMPFAIL;
	case RESP_SYS_PERM:
		return ERR_UNAVAILABLE;
	case RESP_AUTH:
		return ERR_NOPERM;
	default:
		return usual;
	}
}

static enum err_class
class_of_meaning(enum advice_meaning meaning, enum err_class usual)
{
	switch (meaning) {
	case ADVICE_NO_LOGIN:
	case ADVICE_DOUBT:
		return ERR_NOPERM;
	case ADVICE_LATER:
	case ADVICE_TOO_SOON:
		return ERR_TEMPFAIL;
	case ADVICE_NEVER:
		return ERR_UNAVAILABLE;
	default:
		return usual;
	}
}

/* What a provider wants in place of the password of its web page helps those
 * who sent one. */
static const struct advice *
find_advice(const struct session *session, enum err_class class,
    const struct client_reply *reply)
{
	const struct advice *advice = advice_find(
	    session->account->host, class, reply->text, reply->text_len);
	const struct method *method = session->method;

	if (advice == NULL || advice->meaning != ADVICE_USUAL ||
	    method == NULL || method_needs_password(method))
		return advice;
	return NULL;
}

enum err_class
session_judge(struct session *session, const struct client_reply *reply,
    enum err_class usual)
{
	enum err_class class = session_class_of_no(reply->code, usual);

	session->refusal = reply->code;
	session->is_doubtful = false;
	session->advice = find_advice(session, class, reply);
	if (session->advice == NULL ||
	    session_class_of_no(reply->code, ERR_NONE) != ERR_NONE)
		return class;
	session->is_doubtful = session->advice->meaning == ADVICE_DOUBT;
	if (session->advice->meaning == ADVICE_TOO_SOON)
		session->refusal = RESP_LOGIN_DELAY;
	return class_of_meaning(session->advice->meaning, class);
}

bool
session_advise(const struct session *session, struct err *err)
{
	if (session->advice != NULL)
		err_hint(err, "%s", session->advice->hint);
	else if (session->refusal == RESP_IN_USE)
		err_hint(err, "another program has the mailbox open");
	return err->hint[0] != '\0';
}

int
session_refused(struct session *session, const struct client_reply *reply,
    enum err_class usual, struct err *err)
{
	const struct advice *before = session->advice;

	client_refused(reply, session_judge(session, reply, usual), err);
	/* For a thousand messages once. */
	if (session->advice == NULL || session->advice != before)
		session_advise(session, err);
	return -1;
}

/* Both sides may be waiting; who has spoken does not. */
static void
hint_at_silence(const struct session *session, struct err *err)
{
	const struct account *account = session->account;

	if (err->class != ERR_TEMPFAIL || wait_stop_signal() != 0)
		return;
	if (account->tls == CONF_OFF)
		err_hint(err,
		    "perhaps the server waits for TLS on this port: tls on");
	else if (account->tls_starttls == CONF_ON)
		err_hint(err,
		    "perhaps the server waits for TLS from the first byte on "
		    "this port: tls_starttls off");
}

static int
greet(struct session *session, struct err *err)
{
	struct client_reply reply;
	const char *timestamp;
	size_t n;

	if (client_queue(session->client, CMD_GREETING, NULL, err) == -1 ||
	    client_reply(session->client, &reply, err) == -1) {
		hint_at_silence(session, err);
		return err_prefix(err, "greeting");
	}
	if (!reply.ok) {
		session_refused(session, &reply, ERR_TEMPFAIL, err);
		return err_prefix(err, "greeting");
	}
	timestamp = parse_apop_timestamp(reply.text, reply.text_len, &n);
	if (timestamp != NULL && n < sizeof(session->timestamp)) {
		memcpy(session->timestamp, timestamp, n);
		session->timestamp[n] = '\0';
	}
	return 0;
}

int
session_ask_capabilities(struct session *session, struct err *err)
{
	if (session->without_capa)
		return 0;
	if (client_capa(session->client, &session->capa, err) == -1)
		return err_prefix(err, "capa");
	return 0;
}

static int
stls(struct session *session, struct err *err)
{
	struct client_reply reply;

	if (session->capa.known && !session->capa.stls) {
		err_set(err, ERR_UNAVAILABLE,
		    "stls: the server does not offer STLS");
		return err_hint(err,
		    "tls_starttls off with port 995 is TLS from the first "
		    "byte; tls off is no protection at all");
	}
	if (client_queue(session->client, CMD_STLS, NULL, err) == -1 ||
	    client_reply(session->client, &reply, err) == -1)
		return err_prefix(err, "stls");
	if (!reply.ok) {
		session_refused(session, &reply, ERR_UNAVAILABLE, err);
		return err_prefix(err, "stls");
	}
	/* What was learnt before TLS may come from anybody (RFC 2595). */
	parse_capabilities_init(&session->capa);
	return way_start_tls(session, err);
}

void
session_choose_window(struct session *session)
{
	enum conf_switch said = session->account->pipelining;

	session->pipelining =
	    said == CONF_ON || (said == CONF_AUTO && session->capa.pipelining);
	/* What was said before the login may not hold behind it. */
	if (!session->pipelining) {
		client_window(session->client, 1, UINT64_MAX);
		return;
	}
	client_window(session->client, PIPELINE_COMMANDS, PIPELINE_OCTETS);
	client_window_follows(session->client, PIPELINE_OCTETS_MAX);
}

static int
open_and_greet(struct session *session, struct err *err)
{
	const struct account *account = session->account;

	parse_capabilities_init(&session->capa);
	session->timestamp[0] = '\0';
	if (way_connect(session, err) == -1)
		return -1;
	if (account->tls == CONF_ON && account->tls_starttls != CONF_ON &&
	    way_start_tls(session, err) == -1)
		return -1;
	return greet(session, err);
}

/* Some servers hang up, or hang, when they are asked CAPA: once more then,
 * without it. */
static int
open_and_ask(struct session *session, struct err *err)
{
	if (open_and_greet(session, err) == -1)
		return -1;
	if (session_ask_capabilities(session, err) == 0)
		return 0;
	if (err->class != ERR_TEMPFAIL || wait_stop_signal() != 0)
		return -1;
	log_say(LOG_AT_VERBOSE, "%s; once more, without CAPA", err->text);
	session_close(session);
	session->without_capa = true;
	return open_and_greet(session, err);
}

int
session_open(struct session *session, const struct account *account,
    const struct session_options *options, int64_t end, struct err *err)
{
	*session = (struct session){
	    .account = account, .options = options, .end = end};
	if (open_and_ask(session, err) == -1)
		return -1;
	if (account->tls == CONF_ON && account->tls_starttls == CONF_ON &&
	    (stls(session, err) == -1 ||
		session_ask_capabilities(session, err) == -1))
		return -1;
	session_choose_window(session);
	return 0;
}

bool
session_quit(struct session *session, struct err *err)
{
	struct client_reply reply;

	conn_limit(session->conn, QUIT_TIMEOUT);
	if (client_queue(session->client, CMD_QUIT, NULL, err) == -1 ||
	    client_reply(session->client, &reply, err) == -1) {
		err_prefix(err, "quit");
		return false;
	}
	if (!reply.ok) {
		client_refused(&reply, ERR_TEMPFAIL, err);
		err_prefix(err, "quit");
	}
	return reply.ok;
}

void
session_close(struct session *session)
{
	client_close(session->client);
	conn_close(session->conn);
	tunnel_close(session->tunnel);
	session->client = NULL;
	session->conn = NULL;
	session->tunnel = NULL;
}
