/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "conf/account.h"
#include "conf/keyword.h"
#include "conf/paths.h"

#define NAME_SHOWN_MAX 512
#define ARGUMENT_SHOWN_MAX 160

/* The command line */

static int
fail_option(const struct conf_override *override, bool show, const char *why,
    struct err *err)
{
	const char *argument = show ? override->argument : NULL;
	char option[64], shown[ARGUMENT_SHOWN_MAX] = "";

	text_escape(option, sizeof(option), override->keyword,
	    strlen(override->keyword));
	for (char *s = option; *s != '\0'; s++)
		if (*s == '_')
			*s = '-';
	if (argument != NULL)
		text_escape(shown, sizeof(shown), argument, strlen(argument));
	return err_set(err, ERR_USAGE, "--%s: %s%s%s", option, why,
	    shown[0] != '\0' ? ": " : "", shown);
}

/* "maildir,DIR" spares the shell's quotes around "maildir DIR". */
static char *
without_comma(const struct keyword *keyword, const char *argument)
{
	char *copy = mem_dup(argument);
	size_t word = strcspn(copy, ", \t");

	if (keyword->offset == offsetof(struct account, delivery) &&
	    copy[word] == ',')
		copy[word] = ' ';
	return copy;
}

static int
apply(struct account *account, const struct conf_override *override,
    struct err *err)
{
	const struct keyword *keyword = keyword_find(override->keyword);
	const char *why;
	char *argument;
	bool done;

	if (keyword == NULL)
		return fail_option(override, false, "unknown option", err);
	if (keyword->flags & KEYWORD_SECRET)
		return fail_option(override, false,
		    "never on the command line, where others can see it", err);
	argument = without_comma(
	    keyword, override->argument != NULL ? override->argument : "");
	done = account_set(account, keyword, argument, &why);
	free(argument);
	if (done)
		return 0;
	return fail_option(override,
	    (keyword->flags & (KEYWORD_LATER | KEYWORD_HIDDEN)) == 0, why, err);
}

/* The account as a whole */

static int
fail_account(const struct account *account, const char *why, struct err *err)
{
	char name[NAME_SHOWN_MAX], file[NAME_SHOWN_MAX];

	text_escape(name, sizeof(name), account->name, strlen(account->name));
	if (account->file == NULL)
		return err_set(err, ERR_CONFIG, "%s: %s", name, why);
	text_escape(file, sizeof(file), account->file, strlen(account->file));
	return err_set(err, ERR_CONFIG, "%s:%u: account %s: %s", file,
	    account->line, name, why);
}

/* getservbyname(3) needs a file that a container may not have. */
static void
name_port_by_number(struct account *account)
{
	static const struct {
		const char *service;
		const char *number;
	} known[] = {{"pop3", "110"}, {"pop-3", "110"}, {"pop3s", "995"}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcasecmp(account->port, known[i].service) == 0) {
			free(account->port);
			account->port = mem_dup(known[i].number);
			return;
		}
}

static void
settle_port(struct account *account)
{
	bool tls = account->tls == CONF_ON;

	if (account->port != NULL)
		name_port_by_number(account);
	else if (!tls || account->tls_starttls == CONF_ON)
		account->port = mem_dup("110");
	else
		account->port = mem_dup("995");
	if (!tls)
		account->tls_starttls = CONF_OFF;
	else if (account->tls_starttls == CONF_AUTO)
		account->tls_starttls =
		    strcmp(account->port, "110") == 0 ? CONF_ON : CONF_OFF;
}

static int
settle_trust(struct account *account, struct err *err)
{
	const char *file = account->tls_trust_file;
	bool judged;

	if (account->tls == CONF_OFF && account->tls_fingerprint.n > 0)
		log_say(LOG_AT_NOTICE,
		    "%s: tls_fingerprint has no effect while tls is off",
		    account->name);
	if (account->tls_key_file != NULL && account->tls_cert_file == NULL)
		return fail_account(account,
		    "there is a tls_key_file, but no tls_cert_file", err);
	if (account->tls_key_file == NULL && account->tls_cert_file != NULL)
		account->tls_key_file = mem_dup(account->tls_cert_file);
	judged = account->tls == CONF_ON && account->tls_certcheck == CONF_ON &&
	    account->tls_fingerprint.n == 0;
	if (judged && !conf_is_tofu(account) && account->host == NULL &&
	    account->tls_host_override == NULL) {
		fail_account(account,
		    "without a host nobody knows which name the certificate "
		    "should have",
		    err);
		return err_hint(err,
		    "tls_host_override NAME, or a tls_fingerprint; tls off if "
		    "the server speaks no TLS there");
	}
	if (file == NULL || file[0] != '\0')
		return 0;
	if (judged) {
		fail_account(account,
		    "an empty tls_trust_file trusts nobody, and there is no "
		    "tls_fingerprint",
		    err);
		return err_hint(err, "tls_trust_file system");
	}
	free(account->tls_trust_file);
	account->tls_trust_file = NULL;
	return 0;
}

static void
settle_state(struct account *account)
{
	account->uidls_said = account->uidls_file != NULL
	    ? account->uidls_file
	    : paths_state_default(account);
	account->uidls_file = paths_expand(account->uidls_said, account);
}

static int
settle_way(struct account *account, struct err *err)
{
	bool local = account->socket != NULL || account->tunnel != NULL;

	if (account->host == NULL && !local)
		return fail_account(account, "a host is missing", err);
	if (account->socket != NULL && account->tunnel != NULL)
		return fail_account(account,
		    "socket and tunnel are two ways to one server", err);
	if ((account->proxy_user == NULL) != (account->proxy_password == NULL))
		return fail_account(account,
		    "of proxy_user and proxy_password one is missing", err);
	if (local &&
	    (account->source_ip != NULL || account->proxy_host != NULL))
		log_say(LOG_AT_NOTICE,
		    "%s: %s has no effect on a socket or a tunnel",
		    account->name,
		    account->proxy_host != NULL ? "proxy_host" : "source_ip");
	account->server =
	    mem_dup(account->host != NULL ? account->host : account->name);
	return 0;
}

static int
complete(struct account *account, struct err *err)
{
	if (account->file == NULL && account->host != NULL) {
		free(account->name);
		account->name = mem_dup(account->host);
	}
	if (settle_way(account, err) == -1)
		return -1;
	if (account->user == NULL)
		return fail_account(account, "a user is missing", err);
	settle_port(account);
	if (settle_trust(account, err) == -1)
		return -1;
	settle_state(account);
	return 0;
}

int
conf_finish(struct conf *conf, const struct conf_override *overrides, size_t n,
    struct err *err)
{
	for (size_t i = 0; i < conf->n; i++) {
		struct account *account = conf->accounts[i];

		/* A list of the command line starts anew as well. */
		account->said = 0;
		for (size_t j = 0; j < n; j++)
			if (apply(account, &overrides[j], err) == -1)
				return -1;
		if (complete(account, err) == -1)
			return -1;
	}
	return 0;
}
