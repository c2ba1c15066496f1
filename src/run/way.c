/* SPDX-License-Identifier: ISC */
#include "run/way.h"

#include "base/log.h"
#include "wire/dial.h"

int
way_connect(struct session *session, struct err *err)
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

int
way_start_tls(struct session *session, struct err *err)
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
