/* SPDX-License-Identifier: ISC */
/* Trust on first use: a file of servers and their public keys. */
#ifndef WIRE_TOFU_H
#define WIRE_TOFU_H

#include "base/err.h"
#include "wire/verdict.h"

enum tofu_answer {
	TOFU_FAILED = -1,
	TOFU_UNKNOWN, /* the server was never seen */
	TOFU_SAME,
	TOFU_OTHER,
};

/* One line of the file. */
struct tofu_known {
	char key[VERDICT_KEY_SIZE]; /* "sha256/BASE64=" */
	char since[16];		    /* "2026-11-26", UTC */
};

/*
 * Is this a key of the server?  For TOFU_OTHER, known is the last one that the
 * file has.  TOFU_FAILED with ERR_CONFIG when a line makes no sense, or
 * another class when the file cannot be read; one that is not there is empty.
 */
enum tofu_answer tofu_ask(const char *file, const char *server, const char *key,
    struct tofu_known *known, struct err *err);

/* Add a line for the server, durably.  A last one that was torn makes way, one
 * that only lacks its newline gets it. */
int tofu_remember(
    const char *file, const char *server, const char *key, struct err *err);

#endif
