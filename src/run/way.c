/* SPDX-License-Identifier: ISC */
#include "run/way.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"
#include "wire/dial.h"
#include "wire/tunnel.h"

#define RETRY_LONGEST 3000 /* ms, for a connect_timeout of 30 s or more */

bool
way_is_private(const struct account *account)
{
	return account->socket != NULL || account->tunnel != NULL;
}

/* Milliseconds for one try; 0: any time. */
static int64_t
time_to_connect(const struct session *session)
{
	int64_t timeout = (int64_t)session->account->connect_timeout * 1000;
	int64_t left = session->end - wait_clock();

	if (session->end == WAIT_FOREVER || (timeout > 0 && timeout < left))
		return timeout;
	return left > 0 ? left : 1;
}

static int
connect_once(struct session *session, struct err *err)
{
	const struct account *account = session->account;
	struct dial_params params = {
	    .host = account->host,
	    .service = account->port,
	    .family = session->options->family,
	    .source = account->source_ip,
	    .timeout = time_to_connect(session),
	    .proxy_host = account->proxy_host,
	    .proxy_service = account->proxy_port,
	    .proxy_user = account->proxy_user,
	    .proxy_password = account->proxy_password,
	};
	int fd = -1;

	if (account->socket != NULL)
		return dial_unix(account->socket, params.timeout, err);
	if (account->tunnel == NULL)
		return dial(&params, err);
	session->tunnel = tunnel_open(account->tunnel, &fd, err);
	return fd;
}

/* Many runs that began in the same minute must not come back together. */
static int
pause_before_retry(const struct account *account, struct err *err)
{
	int64_t longest = (int64_t)account->connect_timeout * 1000 / 10, until;

	if (longest == 0 || longest > RETRY_LONGEST)
		longest = RETRY_LONGEST;
	until = wait_clock() + longest / 3 +
	    arc4random_uniform((uint32_t)(longest - longest / 3));
	while (wait_clock() < until)
		if (wait_for(NULL, 0, until, err) == -1)
			return -1;
	return 0;
}

/* What is refused behind a failure for now is a server that restarts, say: that
 * failure stays the reason. */
static int
connect_again(struct session *session, struct err *err)
{
	struct err second;
	int fd;

	log_say(
	    LOG_AT_VERBOSE, "connect: %s; once more in a moment", err->text);
	if (pause_before_retry(session->account, err) == -1)
		return -1;
	fd = connect_once(session, &second);
	if (fd == -1)
		log_say(LOG_AT_VERBOSE, "connect: and then: %s", second.text);
	return fd;
}

int
way_connect(struct session *session, struct err *err)
{
	const struct account *account = session->account;
	int fd = connect_once(session, err);

	if (fd == -1 && err->class == ERR_TEMPFAIL &&
	    !session->options->in_hurry && wait_stop_signal() == 0 &&
	    wait_clock() < session->end)
		fd = connect_again(session, err);
	if (fd == -1)
		return err_prefix(err, "connect");
	session->conn =
	    conn_open(fd, (int64_t)account->timeout * 1000, session->end);
	session->client = client_open(session->conn);
	return 0;
}

void
way_forget(const struct account *account)
{
	if (account->proxy_password != NULL)
		explicit_bzero(
		    account->proxy_password, strlen(account->proxy_password));
}

void
way_explain(struct session *session, struct err *err)
{
	if (session->tunnel != NULL &&
	    (err->class == ERR_TEMPFAIL || err->class == ERR_PROTOCOL))
		tunnel_explain(session->tunnel, err);
}

/* The word that means this server in the file of keys. */
static void
append_server(const struct account *account, struct buf *word)
{
	char *name = mem_printf("%s%s%s", account->server,
	    way_is_private(account) ? "" : ":",
	    way_is_private(account) ? "" : account->port);

	for (char *c = name; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	text_percent_encode(word, name, strlen(name), "._:@+-");
	free(name);
}

static int
shake_hands(
    struct session *session, const struct tls_params *params, struct err *err)
{
	char text[128];

	if (conn_start_tls(session->conn, params, err) == -1)
		return err_prefix(err, "tls");
	log_say(LOG_AT_VERBOSE, "tls: %s",
	    tls_describe(conn_tls(session->conn), text, sizeof(text)));
	return 0;
}

int
way_start_tls(struct session *session, struct err *err)
{
	const struct account *account = session->account;
	bool tofu = conf_is_tofu(account);
	struct tls_params params = {
	    .host = account->tls_host_override != NULL
		? account->tls_host_override
		: account->host,
	    .trust_file = tofu ? NULL : account->tls_trust_file,
	    .crl_file = account->tls_crl_file,
	    .cert_file = account->tls_cert_file,
	    .key_file = account->tls_key_file,
	    .fingerprints = (const char *const *)account->tls_fingerprint.items,
	    .n_fingerprints = account->tls_fingerprint.n,
	    .tofu_look_only = session->options->look_only,
	    .certcheck = account->tls_certcheck == CONF_ON,
	    .priorities = account->tls_priorities,
	    .compat = account->tls_compat,
	};
	char *keys = mem_printf("%s.server-keys", account->uidls_file);
	struct buf server = {0};
	int status;

	append_server(account, &server);
	params.tofu_file = tofu ? keys : NULL;
	params.tofu_server = buf_string(&server);
	if (!params.certcheck && !tofu && params.n_fingerprints == 0)
		log_say(LOG_AT_WARNING,
		    "tls_certcheck is off: anybody could be this server");
	if (params.compat != NULL)
		log_say(LOG_AT_VERBOSE,
		    "tls_compat %s: this connection may be weaker than others",
		    params.compat);
	status = shake_hands(session, &params, err);
	buf_free(&server);
	free(keys);
	return status;
}
