/* SPDX-License-Identifier: ISC */
/* Octets as words: escapes for scripts and logs, and the monotonic clock. */
#include <err.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

void *
text_alloc(size_t count, size_t size)
{
	void *p;

	if ((p = calloc(count == 0 ? 1 : count, size)) == NULL)
		err(1, "memory");
	return p;
}

void *
text_grow(void *old, size_t count, size_t size)
{
	void *p;

	if ((p = reallocarray(old, count, size)) == NULL)
		err(1, "memory");
	return p;
}

char *
text_copy(const char *text)
{
	char *p;

	if ((p = strdup(text)) == NULL)
		err(1, "memory");
	return p;
}

char *
text_copy_some(const char *text, size_t len)
{
	char *p;

	if ((p = strndup(text, len)) == NULL)
		err(1, "memory");
	return p;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Two hexadecimal digits, or -1. */
static int
hex_octet(const char *digits)
{
	int high = hex_digit(digits[0]);
	int low = high < 0 ? -1 : hex_digit(digits[1]);

	return low < 0 ? -1 : high * 16 + low;
}

ssize_t
text_unescape(char *text)
{
	static const char letters[] = "rnt0\\", octets[] = "\r\n\t\0\\";
	const char *from = text, *letter;
	char *to = text;
	int octet;

	while (*from != '\0') {
		if (*from != '\\') {
			*to++ = *from++;
		} else if (from[1] == 'x') {
			if ((octet = hex_octet(from + 2)) == -1)
				return -1;
			*to++ = (char)octet;
			from += 4;
		} else if (from[1] != '\0' &&
		    (letter = strchr(letters, from[1])) != NULL) {
			*to++ = octets[letter - letters];
			from += 2;
		} else {
			return -1;
		}
	}
	*to = '\0';
	return to - text;
}

ssize_t
text_unpercent(char *text)
{
	const char *from = text;
	char *to = text;
	int octet;

	while (*from != '\0') {
		if (*from != '%') {
			*to++ = *from++;
			continue;
		}
		if ((octet = hex_octet(from + 1)) == -1)
			return -1;
		*to++ = (char)octet;
		from += 3;
	}
	*to = '\0';
	return to - text;
}

static char *
escape_octet(char *to, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	static const char octets[] = "\r\n\t\\", letters[] = "rnt\\";
	const char *special;

	if (c != '\0' && (special = strchr(octets, c)) != NULL) {
		*to++ = '\\';
		*to++ = letters[special - octets];
	} else if (c >= 0x20 && c < 0x7f) {
		*to++ = (char)c;
	} else {
		*to++ = '\\';
		*to++ = 'x';
		*to++ = digits[c >> 4];
		*to++ = digits[c & 15];
	}
	return to;
}

char *
text_escape(const char *data, size_t len)
{
	char *text = text_alloc(len + 1, 4), *to = text;

	for (size_t i = 0; i < len; i++)
		to = escape_octet(to, (unsigned char)data[i]);
	*to = '\0';
	return text;
}

int64_t
text_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int
text_until(int64_t deadline)
{
	int64_t left;

	if (deadline < 0)
		return -1;
	left = deadline - text_now();
	return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}
