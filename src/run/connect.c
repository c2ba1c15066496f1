/* SPDX-License-Identifier: ISC */
#include "run/connect.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/wait.h"
#include "run/confine.h"
#include "run/login.h"
#include "run/secret.h"
#include "run/way.h"

#define DOUBT_TIME 86400 /* seconds for which a login proves a password */
#define LOGIN_DELAY_DEFAULT 300 /* seconds, if the server says no number */

/* Messages: from so many on, the answer to UIDL takes longer than a round
 * trip, in which LIST can follow it. */
#define LIST_WAITS_FROM 10000

/* Of a handshake that failed: did the server take part in it?  Then that is
 * what a hint is about. */
static bool
speaks_tls(const struct err *err)
{
	if (strstr(err->text, "plain text") != NULL)
		return false;
	return err->hint[0] != '\0' ||
	    strstr(err->text, "certificate") != NULL ||
	    strstr(err->text, "the server refused") != NULL;
}

/*
 * Could it be that the server has no TLS where it is looked for?  Not if it
 * stands or has begun, nor if the port would be the same without, nor if what
 * failed is the resolver's, the proxy's or the server's own trouble; and not
 * where there was a good session before.
 */
static bool
may_lack_tls(const struct fetch *fetch, const struct err *err)
{
	const struct session *session = &fetch->session;
	const struct account *account = fetch->account;

	if (account->tls == CONF_OFF || wait_stop_signal() != 0 ||
	    seen_last_session(fetch->seen)->time != 0)
		return false;
	if (session->conn == NULL)
		return !way_is_private(account) && !session->without_capa &&
		    strcmp(account->port, "995") == 0 &&
		    (err->class == ERR_UNAVAILABLE ||
			(err->class == ERR_TEMPFAIL &&
			    account->proxy_host == NULL));
	if (conn_tls(session->conn) != NULL)
		return false;
	if (account->tls_starttls == CONF_ON)
		return err->class == ERR_UNAVAILABLE;
	return err->class == ERR_PROTOCOL && !speaks_tls(err);
}

/* mpop's users never had to say "tls off"; tell those whom that stops. */
static void
hint_at_tls_default(const struct fetch *fetch, struct err *err)
{
	const struct account *account = fetch->account;
	char other[ERR_HINT_MAX];

	if (account->tls_was_said || !may_lack_tls(fetch, err))
		return;
	strlcpy(other, err->hint, sizeof(other));
	err_hint(err,
	    "%s%saccount %s says nothing of tls, which is on by default; "
	    "\"tls off\" and \"auth user\" restore mpop's way, without "
	    "protection",
	    other, other[0] != '\0' ? "; " : "", account->name);
}

/* It is most of what a large mailbox costs, and mostly for nothing.  In a small
 * one it would be a round trip more when it is needed after all. */
static bool
list_may_wait(const struct fetch *fetch)
{
	uint64_t likely = seen_knows_sizes(fetch->seen)
	    ? seen_last_session(fetch->seen)->count
	    : seen_count(fetch->seen);

	return fetch->account->only_new == CONF_ON && likely >= LIST_WAITS_FROM;
}

/* What is to be deleted is known by its size as well, should the server lose
 * the deletion. */
static int64_t
wants_sizes_of(const struct fetch *fetch)
{
	const struct account *account = fetch->account;

	if (account->keep == CONF_KEEP_OFF)
		return UINT32_MAX;
	if (account->keep != CONF_KEEP_TIME ||
	    account->keep_seconds > (uint64_t)fetch->now)
		return -1;
	return fetch->now - (int64_t)account->keep_seconds;
}

static int
log_in(struct fetch *fetch, const char *secret, struct err *err)
{
	struct session *session = &fetch->session;

	if (session_open(session, fetch->account, &fetch->options->session,
		fetch->end, err) == -1) {
		hint_at_tls_default(fetch, err);
		return -1;
	}
	fetch->listing.list_waits = list_may_wait(fetch);
	fetch->listing.wants_sizes = wants_sizes_of(fetch);
	if (login_queue(session, secret, err) == -1)
		return -1;
	if (login_may_queue_ahead(session) &&
	    listing_queue(&fetch->listing, session, err) == -1)
		return -1;
	if (login_finish(session, secret, err) == -1)
		return -1;
	if (client_queued(session->client) == 0 &&
	    listing_queue(&fetch->listing, session, err) == -1)
		return -1;
	return listing_read(&fetch->listing, session, fetch->seen, err);
}

/* Does the account log in without any? */
static bool
needs_secret(const struct account *account)
{
	const struct method *named = method_named(account->auth);

	return named == NULL || method_needs_secret(named);
}

/* A token that the server refuses may just be too old: the command that gave
 * it is asked once more. */
static int
log_in_renewed(struct fetch *fetch, char **secret, struct err *err)
{
	char *fresh = secret_renew(fetch->account, *secret);

	if (fresh == NULL)
		return -1;
	log_say(LOG_AT_VERBOSE, "%s; once more, with a new token", err->text);
	mem_free_secret(*secret);
	*secret = fresh;
	session_close(&fetch->session);
	return log_in(fetch, *secret, err);
}

/*
 * A busy server may refuse a login in the words for a wrong password.  Where
 * the same account was let in not long ago, that is what is more likely.
 */
static void
doubt_refusal(const struct fetch *fetch, struct err *err)
{
	time_t last = seen_last_session(fetch->seen)->time;

	if (!fetch->session.is_doubtful || err->class != ERR_NOPERM ||
	    last == 0 || last > fetch->now || fetch->now - last > DOUBT_TIME)
		return;
	err->class = ERR_TEMPFAIL;
	err_hint(err,
	    "such a server says so when it is busy, too, and it let this user "
	    "in less than a day ago: wait, unless the password is another now");
}

/* "2026-11-26 03:05:00" */
static char *
describe_time(time_t when, char *dst, size_t size)
{
	struct tm tm;

	if (localtime_r(&when, &tm) == NULL ||
	    strftime(dst, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		strlcpy(dst, "some day", size);
	return dst;
}

/* Too early for this server: the next runs are not to try again in vain. */
static void
note_login_delay(struct fetch *fetch, struct err *err)
{
	const struct session *session = &fetch->session;
	struct err flush_err;
	char when[32];

	if (session->refusal != RESP_LOGIN_DELAY ||
	    fetch->options->verb == FETCH_DRY_RUN)
		return;
	seen_login_delayed(fetch->seen,
	    session->capa.login_delay > 0 ? (uint64_t)session->capa.login_delay
					  : LOGIN_DELAY_DEFAULT);
	if (seen_flush(fetch->seen, false, &flush_err) == -1)
		log_say(LOG_AT_WARNING, "state: %s", flush_err.text);
	else if (seen_login_after(fetch->seen) != 0)
		err_hint(err, "until %s, runs off a terminal do not try again",
		    describe_time(
			seen_login_after(fetch->seen), when, sizeof(when)));
}

/* Who sits at a terminal may know better. */
int
connect_respect_delay(const struct fetch *fetch, struct err *err)
{
	time_t when = seen_login_after(fetch->seen);
	char text[32];

	if (when == 0 || fetch->options->session.in_hurry)
		return 0;
	err_set(err, ERR_TEMPFAIL,
	    "login: the server has refused one as too early; the next is due "
	    "at %s",
	    describe_time(when, text, sizeof(text)));
	err->quiet = true;
	return -1;
}

int
connect_account(struct fetch *fetch, struct err *err)
{
	char *secret = NULL;
	int status;

	if (needs_secret(fetch->account)) {
		secret = secret_get(fetch->account, fetch->parent, err);
		if (secret == NULL)
			return err_prefix(err, "login");
	}
	/* A command that renews a token may have to write it down. */
	if (!secret_is_renewable(fetch->account))
		confine_writes(fetch);
	status = log_in(fetch, secret, err);
	if (status == -1 && fetch->session.token_refused)
		status = log_in_renewed(fetch, &secret, err);
	mem_free_secret(secret);
	mem_wipe_stack();
	way_forget(fetch->account);
	confine_all(fetch);
	if (status == -1) {
		doubt_refusal(fetch, err);
		note_login_delay(fetch, err);
	}
	return status;
}
