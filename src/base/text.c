/* SPDX-License-Identifier: ISC */
#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <libutil.h>

#include "base/buf.h"

/* Length of the valid UTF-8 sequence at s, 0 if there is none. */
static size_t
utf8_length(const unsigned char *s, size_t n)
{
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if ((s[0] >= 0x80 && s[0] < 0xc2) || s[0] > 0xf4 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return len;
}

/* Controls, and U+200E..F, U+2028..E, U+2066..9, which reorder a line. */
static bool
is_unsafe(const unsigned char *s, size_t len)
{
	if (len == 1)
		return s[0] < 0x20 || s[0] == 0x7f;
	if (len == 2)
		return s[0] == 0xc2 && s[1] < 0xa0;
	if (len == 3 && s[0] == 0xe2 && s[1] == 0x80)
		return (s[2] >= 0x8e && s[2] <= 0x8f) ||
		    (s[2] >= 0xa8 && s[2] <= 0xae);
	return len == 3 && s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 &&
	    s[2] <= 0xa9;
}

char *
text_escape(char *dst, size_t size, const void *src, size_t n)
{
	const unsigned char *s = src;
	char piece[8];
	size_t used = 0, cut = 0, len, width;

	for (size_t i = 0; i < n; i += len) {
		len = utf8_length(s + i, n - i);
		if (len == 0 || is_unsafe(s + i, len)) {
			len = 1;
			snprintf(piece, sizeof(piece), "\\x%02x", s[i]);
		} else if (s[i] == '\\')
			strlcpy(piece, "\\\\", sizeof(piece));
		else {
			memcpy(piece, s + i, len);
			piece[len] = '\0';
		}
		width = strlen(piece);
		if (used + width >= size) {
			strlcpy(dst + cut, "...", size - cut);
			return dst;
		}
		memcpy(dst + used, piece, width);
		used += width;
		if (used + 4 <= size)
			cut = used;
	}
	dst[used] = '\0';
	return dst;
}

bool
text_to_number(const char *s, size_t n, uint64_t max, uint64_t *value)
{
	uint64_t sum = 0;

	if (n == 0 || n > 20)
		return false;
	for (size_t i = 0; i < n; i++) {
		uint64_t digit = (uint64_t)(unsigned char)s[i] - '0';

		/* Less than 20 digits cannot overflow. */
		if (digit > 9 || (n == 20 && sum > (UINT64_MAX - digit) / 10))
			return false;
		sum = sum * 10 + digit;
	}
	*value = sum;
	return sum <= max;
}

bool
text_to_size(const char *s, uint64_t *octets)
{
	static const char units[] = "kmgt";
	size_t digits = strspn(s, "0123456789");
	unsigned int shift = 0;
	const char *unit;

	if (!text_to_number(s, digits, INT64_MAX, octets))
		return false;
	if (s[digits] != '\0') {
		unit = strchr(units, tolower((unsigned char)s[digits]));
		if (unit == NULL || s[digits + 1] != '\0')
			return false;
		shift = 10 * (unsigned int)(unit - units + 1);
	}
	if (*octets > (uint64_t)INT64_MAX >> shift)
		return false;
	*octets <<= shift;
	return true;
}

static const struct {
	char letter;
	uint64_t seconds;
} time_units[] = {
    {'w', 604800}, {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

#define N_TIME_UNITS (sizeof(time_units) / sizeof(time_units[0]))

static uint64_t
time_unit(char letter)
{
	for (size_t i = 0; i < N_TIME_UNITS; i++)
		if (time_units[i].letter == letter)
			return time_units[i].seconds;
	return 0;
}

bool
text_to_duration(const char *s, uint64_t *seconds)
{
	const uint64_t limit = 100 * 366 * (uint64_t)86400;
	uint64_t count, unit;
	size_t digits;

	*seconds = 0;
	do {
		s += strspn(s, " \t");
		digits = strspn(s, "0123456789");
		if (!text_to_number(s, digits, limit, &count))
			return false;
		unit = time_unit((char)tolower((unsigned char)s[digits]));
		if (unit == 0 || count > limit / unit)
			return false;
		*seconds += count * unit;
		s += digits + 1;
		s += strspn(s, " \t");
	} while (*s != '\0');
	return *seconds <= limit;
}

char *
text_of_size(char *dst, size_t size, uint64_t octets)
{
	if (humanize_number(dst, size < 5 ? size : 5,
		octets > INT64_MAX ? INT64_MAX : (int64_t)octets, "",
		HN_AUTOSCALE, HN_DECIMAL | HN_NOSPACE | HN_B) == -1)
		strlcpy(dst, "?", size);
	return dst;
}

char *
text_of_signal(char *dst, size_t size, int signo)
{
	const char *name = sigabbrev_np(signo);

	if (name != NULL)
		snprintf(dst, size, "SIG%s", name);
	else
		snprintf(dst, size, "signal %d", signo);
	return dst;
}

char *
text_of_duration(char *dst, size_t size, uint64_t seconds)
{
	char part[32];

	dst[0] = '\0';
	for (size_t i = 0; i < N_TIME_UNITS; i++) {
		uint64_t count = seconds / time_units[i].seconds;

		/* Days read better than weeks that do not divide. */
		if (count == 0 || (i == 0 && seconds % 604800 != 0))
			continue;
		seconds -= count * time_units[i].seconds;
		snprintf(part, sizeof(part), "%s%llu%c",
		    dst[0] != '\0' ? " " : "", (unsigned long long)count,
		    time_units[i].letter);
		strlcat(dst, part, size);
	}
	if (dst[0] == '\0')
		strlcpy(dst, "0s", size);
	return dst;
}

void
text_percent_encode(
    struct buf *dst, const void *src, size_t n, const char *keep)
{
	static const char hex[] = "0123456789ABCDEF";
	const unsigned char *s = src;
	char *out = buf_room(dst, 3 * n);

	for (size_t i = 0; i < n; i++) {
		bool plain = (s[i] >= 'a' && s[i] <= 'z') ||
		    (s[i] >= 'A' && s[i] <= 'Z') ||
		    (s[i] >= '0' && s[i] <= '9') ||
		    (s[i] != '\0' && strchr(keep, s[i]) != NULL);

		if (plain) {
			*out++ = (char)s[i];
		} else {
			*out++ = '%';
			*out++ = hex[s[i] >> 4];
			*out++ = hex[s[i] & 15];
		}
	}
	dst->len = (size_t)(out - dst->data);
}

static int
hex_digit(char c)
{
	static const char hex[] = "0123456789abcdef";
	const char *at = strchr(hex, tolower((unsigned char)c));

	return c == '\0' || at == NULL ? -1 : (int)(at - hex);
}

ptrdiff_t
text_percent_decode(char *s, size_t n)
{
	size_t out = 0;

	for (size_t i = 0; i < n; i++) {
		int high, low;

		if (s[i] != '%') {
			s[out++] = s[i];
			continue;
		}
		if (n - i < 3)
			return -1;
		high = hex_digit(s[i + 1]);
		low = hex_digit(s[i + 2]);
		if (high < 0 || low < 0)
			return -1;
		s[out++] = (char)(high << 4 | low);
		i += 2;
	}
	return (ptrdiff_t)out;
}

#define NEAREST_MAX 40

/* Levenshtein's distance, one row at a time. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[NEAREST_MAX + 1], n = strlen(b);

	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

const char *
text_nearest(const char *word, const char *const candidates[], size_t n)
{
	const char *nearest = NULL;
	size_t best = strlen(word) / 3 + 2;

	if (strlen(word) > NEAREST_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t d;

		if (strlen(candidates[i]) > NEAREST_MAX)
			continue;
		d = distance(word, candidates[i]);
		if (d < best) {
			best = d;
			nearest = candidates[i];
		}
	}
	return nearest;
}
