/* SPDX-License-Identifier: ISC */
/* Octets as words: escapes for scripts and logs, and the monotonic clock. */
#ifndef POPD_TEXT_H
#define POPD_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Memory or death. */
void *text_alloc(size_t count, size_t size);
void *text_grow(void *old, size_t count, size_t size);
char *text_copy(const char *text);
char *text_copy_some(const char *text, size_t len);

/*
 * Turns \r \n \t \0 \\ \xNN into octets, in place. Returns the new length (a
 * NUL follows it), or -1 at an escape that is none of these.
 */
ssize_t text_unescape(char *text);

/* The same for %NN. */
ssize_t text_unpercent(char *text);

/* The reverse of text_unescape: printable ASCII, to be freed. */
char *text_escape(const char *data, size_t len);

/* Milliseconds of the monotonic clock. */
int64_t text_now(void);

/* What poll wants for a deadline in that clock; -1 means none. */
int text_until(int64_t deadline);

#endif
