/* SPDX-License-Identifier: ISC */
/* What the program says while it works, and what it must never say. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level {
	LOG_AT_NOTHING, /* -q: errors travel another way */
	LOG_AT_WARNING, /* always but with -q */
	LOG_AT_NOTICE,	/* shown on a terminal, or with -v */
	LOG_AT_VERBOSE, /* -v */
	LOG_AT_DEBUG,	/* -d: the conversation with the server */
};

typedef void log_sink(void *context, enum log_level level, const char *text);

/* Everything at or below level goes to sink, one printable line a call. */
void log_open(enum log_level level, log_sink *sink, void *context);

/* Is anybody listening?  For callers whose text is dear to make. */
bool log_wants(enum log_level level);

/* The text must be printable: bytes from outside pass text_escape first. */
void log_say(enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Register a secret of n bytes (at least three, else it is ignored): it and
 * its base64 form are masked from now on.  Copies it; log_forget wipes all.
 */
void log_mask(const char *secret, size_t n);
void log_forget(void);

/* text_escape for bytes from outside that may hold a secret: it is masked
 * before anything is escaped or cut, for half of one is still a secret. */
char *log_printable(char *dst, size_t size, const void *src, size_t n);

/* Replace each registered secret in data by "****", in place; returns the new
 * length, which is never greater. */
size_t log_masked(char *data, size_t n);

#endif
