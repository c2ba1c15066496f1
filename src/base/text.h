/* SPDX-License-Identifier: ISC */
/* Text as people type and read it: numbers, sizes, times, hostile bytes. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/*
 * Make n bytes from outside safe for a terminal, a log or an event: valid
 * UTF-8 stays, but control characters (C0, DEL, C1), the characters that turn
 * the writing direction, and bytes that are no UTF-8 become \xNN; a backslash
 * becomes two.  What does not fit into size is cut and ends in "...".
 * Always terminates dst; returns dst.  size must be at least 8.
 */
char *text_escape(char *dst, size_t size, const void *src, size_t n);

/* Decimal digits only, 1 to 20 of them, no more than max. */
bool text_to_number(const char *s, size_t n, uint64_t max, uint64_t *value);

/* "10M", "512k", "4096", "2G": octets, by powers of 1024. */
bool text_to_size(const char *s, uint64_t *octets);

/* "30d", "2w", "1d 12h", "90m", "45s": seconds.  A unit is required. */
bool text_to_duration(const char *s, uint64_t *seconds);

/* "12B", "4.0K", "12M": at most four characters. */
char *text_of_size(char *dst, size_t size, uint64_t octets);

/* "SIGTERM", or "signal 35" for one without a name. */
char *text_of_signal(char *dst, size_t size, int signo);

/* "1d 12h" as text_to_duration reads it. */
char *text_of_duration(char *dst, size_t size, uint64_t seconds);

/* Append src with all bytes %XX-encoded but those of keep and A-Za-z0-9. */
void text_percent_encode(
    struct buf *dst, const void *src, size_t n, const char *keep);

/* Decode %XX in place; returns the new length, or -1 if it is malformed. */
ptrdiff_t text_percent_decode(char *s, size_t n);

/* The candidate nearest to word by edit distance, or NULL if none is near. */
const char *text_nearest(
    const char *word, const char *const candidates[], size_t n);

#endif
