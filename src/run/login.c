/* SPDX-License-Identifier: ISC */
#include "run/login.h"

#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "run/way.h"

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
	if (account->tls == CONF_ON || way_is_private(account)) {
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
login_queue(struct session *session, const char *secret, struct err *err)
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
	if (capa->known && session_ask_capabilities(session, err) == -1)
		return -1;
	session_choose_window(session);
	return 0;
}

bool
login_may_queue_ahead(const struct session *session)
{
	const struct capabilities *capa = &session->capa;

	return session->pipelining &&
	    (!capa->known || (capa->top && capa->uidl));
}

int
login_finish(struct session *session, struct err *err)
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
