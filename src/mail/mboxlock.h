/* SPDX-License-Identifier: ISC */
/* An mbox that is open and locked, by fcntl and by a dotlock beside it. */
#ifndef MAIL_MBOXLOCK_H
#define MAIL_MBOXLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define MBOXLOCK_TOKEN_MAX 64

struct mboxlock {
	const char *path; /* the caller's, of the file itself, no link */
	int fd;		  /* open for reading and appending */
	bool dotlock;	  /* the directory allowed one */
	bool inherited;	  /* it is the dotlock that heir names */
	char token[MBOXLOCK_TOKEN_MAX]; /* what tells the dotlock from others,
					   "-" if there is none */
	char note[256];			/* why there is none, or "" */
	dev_t device;			/* of the dotlock */
	ino_t inode;
};

/*
 * Lock the mbox at path, waiting so many milliseconds at most for others.  A
 * dotlock whose process is gone is removed; one with the token heir (NULL for
 * none) is taken over, whoever has its pid now.  ERR_TEMPFAIL when others hold
 * it for too long, ERR_CANTCREAT or ERR_IO for the file.
 */
struct mboxlock *mboxlock_take(
    const char *path, int64_t patience, const char *heir, struct err *err);

/* Remove the dotlock with this token, whose run is dead, beside path. */
void mboxlock_drop_left(const char *path, const char *token);

/* Unlock, close, free; NULL is nothing to do. */
void mboxlock_release(struct mboxlock *lock);

#endif
