/* SPDX-License-Identifier: ISC */
#include "run/login.h"

#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "pop3/auth.h"
#include "pop3/sasl.h"
#include "run/way.h"

/* RFC 7677, section 4; with less, SCRAM is no better than CRAM-MD5 against
 * somebody who poses as the server and then tries passwords. */
#define SCRAM_ITERATIONS_MIN 4096

/* By one way or another the server's certificate was looked at. */
static bool
is_checked(const struct account *account)
{
	return account->tls_certcheck == CONF_ON ||
	    account->tls_fingerprint.n > 0 || conf_is_tofu(account);
}

/* It is the server, or nobody else could be there. */
static bool
is_trusted(const struct session *session)
{
	const struct account *account = session->account;

	return way_is_private(account) ||
	    (conn_tls(session->conn) != NULL && is_checked(account));
}

static struct method_facts
gather_facts(const struct session *session, const char *secret)
{
	const struct account *account = session->account;
	const struct tls *tls = conn_tls(session->conn);
	struct tls_binding binding;

	return (struct method_facts){
	    .capa = &session->capa,
	    .has_timestamp = session->timestamp[0] != '\0',
	    .tls = tls != NULL,
	    .verified = tls != NULL && is_checked(account),
	    .local = way_is_private(account),
	    .bound = tls != NULL && tls_get_binding(tls, &binding),
	    .has_certificate = tls != NULL && account->tls_cert_file != NULL,
	    .fits_line = secret == NULL || strpbrk(secret, "\r\n") == NULL,
	};
}

static void
take_method(struct session *session, const struct method *method)
{
	session->method = method;
	log_say(LOG_AT_VERBOSE, "login: %s (%s)", method_name(method),
	    session->account->auth == CONF_AUTH_BEST ? method->why
						     : "as the account says");
}

static int
choose_method(struct session *session, const char *secret, struct err *err)
{
	struct method_facts facts = gather_facts(session, secret);
	enum conf_auth said = session->account->auth;
	const struct method *method = said == CONF_AUTH_BEST
	    ? method_next(&facts, NULL)
	    : method_named(said);

	if (method == NULL)
		return method_none(&facts, err);
	if (method->way == METHOD_APOP && !facts.has_timestamp)
		return err_set(err, ERR_UNAVAILABLE,
		    "the greeting has no timestamp that APOP could use");
	take_method(session, method);
	return 0;
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

/* What of the method can be sent ahead; with SASL nothing can. */
static int
queue_method(struct session *session, const char *secret, struct err *err)
{
	struct client *client = session->client;

	if (session->method->way == METHOD_APOP)
		return queue_apop(session, secret, err);
	if (session->method->way == METHOD_USER &&
	    (client_queue(client, CMD_USER, session->account->user, err) ==
		    -1 ||
		client_queue(client, CMD_PASS, secret, err) == -1))
		return -1;
	return 0;
}

/* Whoever does so may have any command answered with yes, secrets too. */
static int
refuse_early_reply(struct session *session, struct err *err)
{
	if (!client_unasked_input(session->client))
		return 0;
	return err_set(
	    err, ERR_PROTOCOL, "login: the server answers before it is asked");
}

int
login_queue(struct session *session, const char *secret, struct err *err)
{
	struct client *client = session->client;

	if (choose_method(session, secret, err) == -1)
		return err_prefix(err, "login");
	if (refuse_early_reply(session, err) == -1)
		return -1;
	if (session->capa.utf8 &&
	    client_queue(client, CMD_UTF8, NULL, err) == -1)
		return -1;
	if (queue_method(session, secret, err) == -1)
		return err_prefix(err, "login");
	return 0;
}

/* Where no password was sent, none can be wrong. */
static void
hint_without_secret(const struct session *session, struct err *err)
{
	const struct account *account = session->account;

	if (session->method->mechanism == SASL_GSSAPI)
		err_hint(err, "is the ticket that klist shows one of %s?",
		    account->user);
	else if (account->tls_cert_file == NULL)
		err_hint(err, "AUTH %s takes a certificate: tls_cert_file",
		    method_name(session->method));
	else
		err_hint(err,
		    "does the certificate in tls_cert_file say to the server "
		    "that this is %s?",
		    account->user);
}

/* To the text of a refusal, what may help. */
static int
explain_refusal(const struct session *session, struct err *err)
{
	const struct account *account = session->account;
	const struct capabilities *capa = &session->capa;
	const char *file =
	    account->file != NULL ? account->file : "command line";
	const struct method *method = session->method;

	if (session_advise(session, err) || err->class != ERR_NOPERM)
		return err_prefix(err, "login");
	if (capa->known && method->way == METHOD_SASL &&
	    !method_is_announced(method, capa))
		err_hint(err, "the server does not offer %s, %s%s",
		    method_name(method),
		    capa->sasl[0] != '\0' ? "but " : "nor any SASL mechanism",
		    capa->sasl);
	else if (!method_needs_secret(method))
		hint_without_secret(session, err);
	else if (method->way == METHOD_SASL &&
	    sasl_needs_token(method->mechanism))
		err_hint(err,
		    "is the token of account %s (%s:%u) for %s, and does its "
		    "scope cover POP?",
		    account->name, file, account->line, account->user);
	else
		err_hint(err, "check user and password of account %s (%s:%u)",
		    account->name, file, account->line);
	return err_prefix(err, "login");
}

/* How long it keeps the mail of this user the server says after the login
 * only (RFC 2449, section 6.7). */
static bool
must_ask_expiry(const struct session *session)
{
	return session->capa.expire_user &&
	    session->account->keep == CONF_KEEP_TIME;
}

/* Some servers announce more to those whom they know (RFC 2449). */
static int
ask_again(struct session *session, struct err *err)
{
	const struct capabilities *capa = &session->capa;

	if (client_queued(session->client) > 0 ||
	    (capa->top && capa->uidl && capa->pipelining &&
		!must_ask_expiry(session)))
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

	return session->pipelining && session->method->way != METHOD_SASL &&
	    (!capa->known || (capa->top && capa->uidl)) &&
	    !must_ask_expiry(session);
}

/* The replies to what was queued up to the login's end. */
static int
read_replies(struct session *session, struct err *err)
{
	struct client_reply reply;

	do {
		if (refuse_early_reply(session, err) == -1)
			return -1;
		if (client_reply(session->client, &reply, err) == -1)
			return err_prefix(err, "login");
		if (!reply.ok && reply.command != CMD_UTF8) {
			client_drop_unsent(session->client);
			client_refused(&reply,
			    session_judge(session, &reply, ERR_NOPERM), err);
			return explain_refusal(session, err);
		}
	} while (reply.command != CMD_PASS && reply.command != CMD_APOP);
	return 0;
}

/* What a server says that offers a mechanism and does not have it: no to the
 * command, before anything could tell it that the secret is wrong.  That a
 * certificate does not say enough does not make a password wrong either. */
static bool
is_not_there(const struct method *method, const struct auth_outcome *outcome)
{
	enum resp_code code = outcome->reply.code;

	return !outcome->secret_sent &&
	    (code == RESP_NONE || code == RESP_UNKNOWN ||
		(code == RESP_AUTH && !method_needs_secret(method)));
}

/* "auth on" goes on with the next method that is safe. */
static bool
takes_next(struct session *session, const char *secret, struct err *err)
{
	struct method_facts facts = gather_facts(session, secret);
	const struct method *next;

	if (session->account->auth != CONF_AUTH_BEST)
		return false;
	next = method_next(&facts, session->method);
	if (next == NULL)
		return false;
	log_say(LOG_AT_VERBOSE, "login: %s", err->text);
	take_method(session, next);
	return queue_method(session, secret, err) == 0;
}

/* The name by which a mechanism knows the server; a socket has none. */
static const char *
host_of_server(const struct account *account)
{
	if (account->tls_host_override != NULL)
		return account->tls_host_override;
	return account->host != NULL ? account->host : "localhost";
}

static struct sasl_params
describe_login(const struct session *session, const char *secret,
    struct tls_binding *binding)
{
	const struct account *account = session->account;
	const struct tls *tls = conn_tls(session->conn);
	struct sasl_params params = {
	    .mechanism = session->method->mechanism,
	    .user = account->user,
	    .secret = secret,
	    .host = host_of_server(account),
	    .port = account->port,
	    .domain = account->ntlmdomain,
	};

	if (account->auth == CONF_AUTH_BEST && !is_trusted(session))
		params.iterations_min = SCRAM_ITERATIONS_MIN;
	if (tls != NULL && tls_get_binding(tls, binding)) {
		params.binding = binding->data;
		params.binding_size = binding->size;
		params.binding_is_exporter = binding->is_exporter;
	}
	return params;
}

/* 0 if another method is to be tried now. */
static int
refused(struct session *session, const struct sasl *sasl,
    const struct auth_outcome *outcome, const char *secret, struct err *err)
{
	const struct client_reply *reply = &outcome->reply;

	auth_refused(
	    sasl, reply, session_judge(session, reply, ERR_NOPERM), err);
	if (err->class == ERR_NOPERM &&
	    is_not_there(session->method, outcome) &&
	    takes_next(session, secret, err))
		return 0;
	session->token_refused =
	    err->class == ERR_NOPERM && sasl_needs_token(sasl_mechanism(sasl));
	return explain_refusal(session, err);
}

/* 0: logged in or, with *again, to be tried by another method. */
static int
exchange(
    struct session *session, const char *secret, bool *again, struct err *err)
{
	bool announced = method_is_announced(session->method, &session->capa);
	struct tls_binding binding = {.size = 0};
	struct sasl_params params = describe_login(session, secret, &binding);
	struct auth_outcome outcome = {.secret_sent = false};
	struct sasl *sasl = sasl_open(&params, err);
	int status;

	if (sasl == NULL)
		return err_prefix(err, "login");
	status = auth_exchange(session->client, sasl, announced, &outcome, err);
	*again = status == 0 && !outcome.reply.ok;
	if (status == -1)
		err_prefix(err, "login");
	else if (*again)
		status = refused(session, sasl, &outcome, secret, err);
	sasl_close(sasl);
	return status;
}

/* SASL wants the line for itself. */
static int
settle_utf8(struct session *session, struct err *err)
{
	struct client_reply reply;

	while (client_queued(session->client) > 0)
		if (client_reply(session->client, &reply, err) == -1)
			return err_prefix(err, "login");
	return 0;
}

int
login_finish(struct session *session, const char *secret, struct err *err)
{
	bool again = true;

	session->token_refused = false;
	if (session->method->way == METHOD_SASL &&
	    settle_utf8(session, err) == -1)
		return -1;
	while (again && session->method->way == METHOD_SASL) {
		again = false;
		if (exchange(session, secret, &again, err) == -1)
			return -1;
	}
	if (again && read_replies(session, err) == -1)
		return -1;
	return ask_again(session, err);
}
