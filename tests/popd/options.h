/* SPDX-License-Identifier: ISC */
/* The command line as plain data; one table in options.c makes it. */
#ifndef POPD_OPTIONS_H
#define POPD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream.h"

enum mode {
	MODE_MAILBOX = 1,
	MODE_SCRIPT = 2,
	MODE_ANY = 3
};

enum tls_mode {
	TLS_NONE,
	TLS_IMPLICIT,
	TLS_STLS,
	TLS_BOTH
};

enum {
	LISTEN_MAX = 4,
	LIST_MAX = 64
};

/* Texts that an option gave, in order. */
struct words {
	const char *word[LIST_MAX];
	size_t count;
};

/* --resp KEY[#TIMES]=TEXT */
struct answer {
	const char *command; /* "RETR" or "RETR 3" */
	const char *text;
	size_t text_len;
	int64_t times; /* how often; -1 is always */
};

/* --user NAME:PASS */
struct user {
	const char *name, *password;
};

struct options {
	/* where it listens */
	struct words listen;
	int64_t port, tls_port; /* 0 is any */
	const char *unix_path, *port_file;
	bool stdio;
	/* how long it lives */
	bool until_eof;
	int64_t lifetime; /* seconds */
	int64_t max_connections;
	const char *log;
	/* TLS */
	enum tls_mode tls;
	const char *tls_cert, *tls_key, *tls_priorities;
	const char *tls_ocsp, *tls_client_ca;
	/* faults of the connection */
	struct shape shape;
	const char *at;	       /* cut and stall count from this command on */
	int64_t on_connection; /* and only on this one; 0 is all */
	/* mailbox: contents */
	const char *dir, *uid_prefix;
	int64_t synthetic_count, synthetic_size; /* count -1: a directory */
	int64_t exclude_last, size_off;
	bool lf, no_stuff;
	struct words hide;
	/* mailbox: protocol */
	struct user users[LIST_MAX];
	size_t user_count;
	struct answer answers[LIST_MAX];
	size_t answer_count;
	struct words capa;
	const char *greeting;
	const char *sasl; /* mechanisms, blanks between them */
	bool sasl_other_tls;
	bool apop, no_capa, no_uidl, no_top, no_pipelining, uidl_err;
	bool no_delete, lock, quit_eof, reverse;
	/* script */
	bool repeat;
	int64_t wait; /* ms */
	char **scripts;
	size_t script_count;
};

/* Dies with a message on a wrong command line. argv[0] is the mode's name. */
void options_parse(struct options *o, enum mode mode, int argc, char **argv);

/* Prints the table. */
void options_usage(void);

#endif
