/* SPDX-License-Identifier: ISC */
/* The accounts of an rc file, as plain data.  poplarrc(5) is the grammar. */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "mail/deliver.h"

enum conf_switch {
	CONF_OFF,
	CONF_ON,
	CONF_AUTO,
};

enum conf_auth {
	CONF_AUTH_BEST, /* "on": the best that is safe here */
	CONF_AUTH_USER,
	CONF_AUTH_APOP,
	CONF_AUTH_PLAIN,
	CONF_AUTH_LOGIN,
	CONF_AUTH_CRAM_MD5,
	CONF_AUTH_DIGEST_MD5,
	CONF_AUTH_SCRAM_SHA_1,
	CONF_AUTH_SCRAM_SHA_1_PLUS,
	CONF_AUTH_SCRAM_SHA_256,
	CONF_AUTH_SCRAM_SHA_256_PLUS,
	CONF_AUTH_EXTERNAL,
	CONF_AUTH_GSSAPI,
	CONF_AUTH_NTLM,
	CONF_AUTH_OAUTHBEARER,
	CONF_AUTH_XOAUTH2,
};

enum conf_keep {
	CONF_KEEP_ON,
	CONF_KEEP_OFF,
	CONF_KEEP_TIME,
};

#define CONF_SIZE_OFF UINT64_MAX
#define CONF_TRUST_TOFU "tofu" /* the only relative path that is none */

struct conf_delivery {
	enum deliver_kind kind;
	char *target; /* directory, file, or command */
};

struct conf_strings {
	char **items;
	size_t n;
};

/* A descriptor that the program was started with. */
struct conf_descriptor {
	bool given;
	int fd;
	const char *why; /* it could not be read; static text, NULL: it was */
};

/*
 * One account, or the defaults.  Strings are owned, NULL where nothing was
 * said and there is no default.  All times are in seconds, 0 for off.
 */
struct account {
	char *name;
	char *file; /* where it was defined, for messages */
	unsigned int line;

	char *host;
	char *server; /* after conf_finish: the host, or without one, at a
			 socket or a tunnel, the account's name */
	char *port;   /* never NULL after conf_finish */
	char *socket; /* path of a unix socket */
	char *tunnel; /* a command */
	char *source_ip;
	char *proxy_host;
	char *proxy_port;
	char *proxy_user;
	char *proxy_password; /* a secret */
	uint64_t timeout;
	uint64_t connect_timeout;
	uint64_t session_timeout;
	uint64_t mda_timeout;
	enum conf_switch pipelining;
	enum conf_auth auth;
	char *user;
	char *password; /* a secret */
	char *passwordeval;
	struct conf_descriptor passwordfd;
	char *ntlmdomain;
	enum conf_switch tls;
	enum conf_switch tls_starttls; /* never CONF_AUTO after conf_finish */
	char *tls_trust_file;	       /* NULL: the system's; CONF_TRUST_TOFU;
					  "" only before conf_finish: none */
	char *tls_crl_file;
	char *tls_cert_file; /* or a PKCS#11 URI, as the next one, which is */
	char *tls_key_file;  /* never NULL beside it after conf_finish */
	struct conf_strings tls_fingerprint;
	enum conf_switch tls_certcheck;
	char *tls_compat; /* presets, blanks between them */
	char *tls_priorities;
	char *tls_host_override;
	struct conf_delivery delivery;
	char *uidls_file; /* after conf_finish: the path of the state */
	char *uidls_said; /* after conf_finish: what gave that path */
	enum conf_switch require_state;
	enum conf_switch only_new;
	enum conf_keep keep;   /* keep_seconds has to follow it */
	uint64_t keep_seconds; /* for CONF_KEEP_TIME */
	uint64_t killsize;     /* octets or CONF_SIZE_OFF */
	uint64_t skipsize;
	uint64_t max_messages; /* 0: off */
	uint64_t max_bytes;    /* octets or CONF_SIZE_OFF */
	bool newest_first;
	uint64_t quarantine_after; /* failures; 0: off */

	bool tls_was_said;  /* the keyword tls was given, by whatever way */
	uint64_t said;	    /* bit i: row i of the table stood in its section,
			       or in one of its parents' */
	uint64_t inherited; /* which of these stood in a parent's only */
};

struct conf {
	struct account **accounts; /* in the order of the rc file */
	size_t n;
};

/* "--keyword=argument" of the command line, for every account. */
struct conf_override {
	const char *keyword;  /* as in the rc file, with underscores */
	const char *argument; /* NULL: none was given */
};

/* The rc file that is read if no other is named; the caller frees it. */
char *conf_default_path(void);

/*
 * Read an rc file ("-": standard input).  A mistake is ERR_CONFIG with
 * "FILE:LINE: WORD: why", in the hint the nearest known keyword; a file that
 * cannot be read ERR_CONFIG too.  NULL on failure.
 */
struct conf *conf_read(const char *path, struct err *err);

/* A conf with one account and no rc file, for --host; conf_finish names it
 * after its host. */
struct conf *conf_without_file(void);

/*
 * Take the overrides over into every account, fill in what depends on other
 * keywords (port, starttls, uidls_file), and check each account as a whole
 * (host, user, ...).  Once only.  ERR_USAGE for a mistake in an override,
 * ERR_CONFIG for one in an account.
 */
int conf_finish(struct conf *conf, const struct conf_override *overrides,
    size_t n, struct err *err);

/* tls_trust_file tofu */
bool conf_is_tofu(const struct account *account);

/*
 * Keep only the accounts that the names choose, in rc file order; names may be
 * shell patterns.  Without names: the account "default" if there is one and
 * all is false, else every account.  A name that matches nothing is
 * ERR_CONFIG.
 */
int conf_choose(struct conf *conf, char *const names[], size_t n, bool all,
    struct err *err);

/* Append the effective settings of all accounts as an rc file, secrets as
 * "*". */
void conf_format(const struct conf *conf, struct buf *text);

/* The same on standard output. */
void conf_print(const struct conf *conf);

/* Wipe the secrets of all accounts but this one. */
void conf_forget_others(const struct conf *conf, const struct account *account);

/* Wipes the secrets. */
void conf_free(struct conf *conf);

#endif
