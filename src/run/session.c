/* SPDX-License-Identifier: ISC */
#include "run/session.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wait.h"
#include "wire/dial.h"

#define QUIT_TIMEOUT 10000 /* milliseconds; a warning, not worth a wait */
#define PIPELINE_COMMANDS 1000
#define PIPELINE_OCTETS (2 * 1024 * 1024)

static int
dial_account(struct session *session, struct err *err)
{
	const struct account *account = session->account;
	struct dial_params params = {
	    .host = account->host,
	    .service = account->port,
	    .family = session->family,
	    .timeout = (int64_t)account->connect_timeout * 1000,
	};
	int fd = dial(&params, err);

	if (fd == -1)
		return err_prefix(err, "connect");
	session->conn =
	    conn_open(fd, (int64_t)account->timeout * 1000, session->end);
	session->client = client_open(session->conn);
	return 0;
}

static int
start_tls(struct session *session, struct err *err)
{
	const struct account *account = session->account;
	struct tls_params params = {
	    .host = account->tls_host_override != NULL
		? account->tls_host_override
		: account->host,
	    .trust_file = account->tls_trust_file,
	    .fingerprints = (const char *const *)account->tls_fingerprint.items,
	    .n_fingerprints = account->tls_fingerprint.n,
	    .certcheck = account->tls_certcheck == CONF_ON,
	    .priorities = account->tls_priorities,
	};
	char text[128];

	if (!params.certcheck)
		log_say(LOG_AT_WARNING,
		    "tls_certcheck is off: anybody could be this server");
	if (conn_start_tls(session->conn, &params, err) == -1)
		return err_prefix(err, "tls");
	log_say(LOG_AT_VERBOSE, "tls: %s",
	    tls_describe(conn_tls(session->conn), text, sizeof(text)));
	return 0;
}

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
	default:
		return usual;
	}
}

static int
greet(struct session *session, struct err *err)
{
	struct client_reply reply;
	const char *timestamp;
	size_t n;

	if (client_queue(session->client, CMD_GREETING, NULL, err) == -1 ||
	    client_reply(session->client, &reply, err) == -1) {
		if (session->account->tls == CONF_OFF)
			err_hint(err,
			    "perhaps the server waits for TLS on this port: "
			    "tls on");
		return err_prefix(err, "greeting");
	}
	if (!reply.ok) {
		client_refused(
		    &reply, session_class_of_no(reply.code, ERR_TEMPFAIL), err);
		return err_prefix(err, "greeting");
	}
	timestamp = parse_apop_timestamp(reply.text, reply.text_len, &n);
	if (timestamp != NULL && n < sizeof(session->timestamp)) {
		memcpy(session->timestamp, timestamp, n);
		session->timestamp[n] = '\0';
	}
	return 0;
}

static int
ask_capabilities(struct session *session, struct err *err)
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
		client_refused(&reply,
		    session_class_of_no(reply.code, ERR_UNAVAILABLE), err);
		return err_prefix(err, "stls");
	}
	/* What was learnt before TLS may come from anybody (RFC 2595). */
	parse_capabilities_init(&session->capa);
	return start_tls(session, err);
}

static void
choose_window(struct session *session)
{
	enum conf_switch said = session->account->pipelining;

	session->pipelining =
	    said == CONF_ON || (said == CONF_AUTO && session->capa.pipelining);
	if (session->pipelining)
		client_window(
		    session->client, PIPELINE_COMMANDS, PIPELINE_OCTETS);
}

static int
open_and_greet(struct session *session, struct err *err)
{
	const struct account *account = session->account;

	parse_capabilities_init(&session->capa);
	session->timestamp[0] = '\0';
	if (dial_account(session, err) == -1)
		return -1;
	if (account->tls == CONF_ON && account->tls_starttls != CONF_ON &&
	    start_tls(session, err) == -1)
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
	if (ask_capabilities(session, err) == 0)
		return 0;
	if (err->class != ERR_TEMPFAIL || wait_stop_signal() != 0)
		return -1;
	log_say(LOG_AT_VERBOSE, "%s; once more, without CAPA", err->text);
	session_close(session);
	session->without_capa = true;
	return open_and_greet(session, err);
}

int
session_open(struct session *session, const struct account *account, int family,
    struct err *err)
{
	*session = (struct session){
	    .account = account, .family = family, .end = WAIT_FOREVER};
	if (account->session_timeout != 0)
		session->end =
		    wait_clock() + (int64_t)account->session_timeout * 1000;
	if (open_and_ask(session, err) == -1)
		return -1;
	if (account->tls == CONF_ON && account->tls_starttls == CONF_ON &&
	    (stls(session, err) == -1 || ask_capabilities(session, err) == -1))
		return -1;
	choose_window(session);
	return 0;
}

static int
choose_auth(
    const struct session *session, enum conf_auth *auth, struct err *err)
{
	const struct account *account = session->account;
	bool has_apop = session->timestamp[0] != '\0';

	*auth = account->auth;
	if (*auth == CONF_AUTH_APOP && !has_apop)
		return err_set(err, ERR_UNAVAILABLE,
		    "login: the greeting has no timestamp that APOP could use");
	if (*auth != CONF_AUTH_BEST)
		return 0;
	if (account->tls == CONF_ON) {
		*auth = CONF_AUTH_USER;
		return 0;
	}
	if (has_apop) {
		*auth = CONF_AUTH_APOP;
		return 0;
	}
	err_set(err, ERR_UNAVAILABLE,
	    "login: no method is safe without TLS; the password was not sent");
	return err_hint(err,
	    "use tls on, or auth user if everybody on the way may read the "
	    "password");
}

static int
queue_apop(struct session *session, const char *secret, struct err *err)
{
	char digest[DIGEST_MD5_HEX_SIZE], *args;
	struct buf salted = {0};
	int status;

	buf_puts(&salted, session->timestamp);
	buf_puts(&salted, secret);
	digest_md5_hex(salted.data, salted.len, digest);
	buf_wipe(&salted);
	log_mask(digest, strlen(digest));
	args = mem_printf("%s %s", session->account->user, digest);
	status = client_queue(session->client, CMD_APOP, args, err);
	mem_free_secret(args);
	return status;
}

int
session_queue_login(
    struct session *session, const char *secret, struct err *err)
{
	struct client *client = session->client;
	enum conf_auth auth;
	int status;

	if (choose_auth(session, &auth, err) == -1)
		return -1;
	if (client_unasked_input(client))
		return err_set(err, ERR_PROTOCOL,
		    "login: the server answers before it is asked");
	if (session->capa.utf8 &&
	    client_queue(client, CMD_UTF8, NULL, err) == -1)
		return -1;
	if (auth == CONF_AUTH_APOP) {
		status = queue_apop(session, secret, err);
	} else {
		status =
		    client_queue(client, CMD_USER, session->account->user, err);
		if (status == 0)
			status = client_queue(client, CMD_PASS, secret, err);
	}
	return status == 0 ? 0 : err_prefix(err, "login");
}

static int
login_refused(const struct session *session, const struct client_reply *reply,
    struct err *err)
{
	client_refused(
	    reply, session_class_of_no(reply->code, ERR_NOPERM), err);
	if (reply->code == RESP_IN_USE)
		err_hint(err, "another program has the mailbox open");
	else if (err->class == ERR_NOPERM)
		err_hint(err, "check user and password of account %s (%s:%u)",
		    session->account->name,
		    session->account->file != NULL ? session->account->file
						   : "command line",
		    session->account->line);
	return err_prefix(err, "login");
}

/* Some servers announce more to those whom they know (RFC 2449). */
static int
ask_again(struct session *session, struct err *err)
{
	const struct capabilities *capa = &session->capa;

	if (client_queued(session->client) > 0 ||
	    (capa->top && capa->uidl && capa->pipelining))
		return 0;
	if (capa->known && ask_capabilities(session, err) == -1)
		return -1;
	choose_window(session);
	return 0;
}

bool
session_may_queue_ahead(const struct session *session)
{
	const struct capabilities *capa = &session->capa;

	return session->pipelining &&
	    (!capa->known || (capa->top && capa->uidl));
}

int
session_login(struct session *session, struct err *err)
{
	struct client_reply reply;

	do {
		if (client_reply(session->client, &reply, err) == -1)
			return err_prefix(err, "login");
		if (!reply.ok && reply.command != CMD_UTF8) {
			client_drop_unsent(session->client);
			return login_refused(session, &reply, err);
		}
	} while (reply.command != CMD_PASS && reply.command != CMD_APOP);
	return ask_again(session, err);
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
	session->client = NULL;
	session->conn = NULL;
}
