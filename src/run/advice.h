/* SPDX-License-Identifier: ISC */
/* What is known of how certain servers say no, and what helps. */
#ifndef RUN_ADVICE_H
#define RUN_ADVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* What such a no means if the server gave no response code. */
enum advice_meaning {
	ADVICE_USUAL,	 /* what is usual where it was said */
	ADVICE_NO_LOGIN, /* ERR_NOPERM */
	ADVICE_DOUBT,	 /* the same, but so it says as well when it is busy */
	ADVICE_LATER,	 /* ERR_TEMPFAIL */
	ADVICE_TOO_SOON, /* the same, as if it had said [LOGIN-DELAY] */
	ADVICE_NEVER,	 /* ERR_UNAVAILABLE */
};

struct advice {
	const char *host; /* a shell pattern, in any case; NULL: any */
	const char *text; /* bytes of the reply, ASCII letters in any case;
			     NULL: any reply that refuses a login */
	enum advice_meaning meaning;
	const char *hint;
};

/*
 * The row of the table that fits a reply of n bytes from host (NULL: none is
 * known), which would be taken for a no of this class.  NULL: none does.
 */
const struct advice *advice_find(
    const char *host, enum err_class class, const char *text, size_t n);

#endif
