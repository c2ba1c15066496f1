/* SPDX-License-Identifier: ISC */
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tap.h"

static void
test_escape(void)
{
	static const struct {
		const char *in;
		size_t n;
		const char *out;
	} rows[] = {
	    {"plain", 5, "plain"},
	    {"caf\xc3\xa9 \xe6\x97\xa5", 9, "caf\xc3\xa9 \xe6\x97\xa5"},
	    {"\033[2J", 4, "\\x1b[2J"},
	    {"a\0b", 3, "a\\x00b"},
	    {"\x7f\r\n\t", 4, "\\x7f\\x0d\\x0a\\x09"},
	    {"\x9b"
	     "31m",
		4, "\\x9b31m"},			    /* C1, eight bits */
	    {"\xc2\x9b", 2, "\\xc2\\x9b"},	    /* C1 in UTF-8 */
	    {"\xe2\x80\xae", 3, "\\xe2\\x80\\xae"}, /* right to left */
	    {"\xe2\x81\xa7", 3, "\\xe2\\x81\\xa7"},
	    {"\xc0\xaf", 2, "\\xc0\\xaf"},	    /* overlong */
	    {"\xed\xa0\x80", 3, "\\xed\\xa0\\x80"}, /* surrogate */
	    {"\xf5\x80\x80\x80", 4, "\\xf5\\x80\\x80\\x80"},
	    {"\xe6\x97", 2, "\\xe6\\x97"}, /* cut off */
	    {"back\\slash", 10, "back\\\\slash"},
	    {"%s%n", 4, "%s%n"},
	};
	char out[64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		tap_is(text_escape(out, sizeof(out), rows[i].in, rows[i].n),
		    rows[i].out, "escaped");
	tap_is(text_escape(out, 8, "1234567", 7), "1234567", "it just fits");
	tap_is(text_escape(out, 8, "12345678", 8), "1234...", "cut");
	tap_is(text_escape(out, 8, "\033\033\033", 3), "\\x1b...",
	    "never cut inside of an escape");
	tap_is(text_escape(out, 9, "\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5", 9),
	    "\xe6\x97\xa5...", "nor inside of a character");
}

static void
test_numbers(void)
{
	uint64_t n;

	tap_ok(text_to_number("18446744073709551615", 20, UINT64_MAX, &n) &&
		n == UINT64_MAX,
	    "the greatest number");
	tap_ok(!text_to_number("18446744073709551616", 20, UINT64_MAX, &n),
	    "one more");
	tap_ok(!text_to_number("", 0, 10, &n), "no digits");
	tap_ok(!text_to_number("-1", 2, 10, &n), "a sign");
	tap_ok(!text_to_number(" 1", 2, 10, &n), "a blank");
	tap_ok(!text_to_number("11", 2, 10, &n), "more than allowed");
	tap_ok(text_to_size("10M", &n) && n == 10 << 20, "10M");
	tap_ok(text_to_size("2g", &n) && n == UINT64_C(2) << 30, "2g");
	tap_ok(!text_to_size("10X", &n), "10X");
	tap_ok(!text_to_size("10MB", &n), "10MB");
	tap_ok(!text_to_size("9000000T", &n), "too much");
	tap_ok(text_to_duration("1d 12h", &n) && n == 129600, "1d 12h");
	tap_ok(text_to_duration("2w", &n) && n == 1209600, "2w");
	tap_ok(!text_to_duration("30", &n), "no unit");
	tap_ok(!text_to_duration("", &n), "nothing");
	tap_ok(!text_to_duration("1d 5", &n), "half of it");
	tap_ok(!text_to_duration("99999999999w", &n), "too long");
}

static void
test_printing(void)
{
	char out[64];
	uint64_t back;

	tap_is(text_of_size(out, sizeof(out), 4096), "4.0K", "4 KiB");
	tap_is(text_of_size(out, sizeof(out), 12), "12B", "12B");
	tap_is(text_of_size(out, sizeof(out), UINT64_MAX), "8.0E", "a lot");
	tap_is(text_of_duration(out, sizeof(out), 129600), "1d 12h", "1d 12h");
	tap_is(text_of_duration(out, sizeof(out), 0), "0s", "0s");
	for (uint64_t s = 1; s < 100000000; s = s * 3 + 1)
		if (!text_to_duration(
			text_of_duration(out, sizeof(out), s), &back) ||
		    back != s)
			tap_ok(false, "%s", out);
}

static void
test_percent(void)
{
	struct buf buf = {0};
	char *text;

	text_percent_encode(&buf, "a b%\0/\xff", 7, "/");
	tap_is(buf_string(&buf), "a%20b%25%00/%FF", "encoded");
	text = buf_string(&buf);
	tap_ok(text_percent_decode(text, buf.len) == 7 &&
		memcmp(text, "a b%\0/\xff", 7) == 0,
	    "and decoded");
	buf_free(&buf);
	buf_puts(&buf, "%4");
	tap_ok(text_percent_decode(buf_string(&buf), 2) == -1, "cut off");
	tap_ok(text_percent_decode((char[]){"%xy"}, 3) == -1, "no digits");
	buf_free(&buf);
}

static void
test_nearest(void)
{
	static const char *const words[] = {"host", "port", "tls_starttls"};

	tap_is(text_nearest("hots", words, 3), "host", "hots");
	tap_is(
	    text_nearest("tls_startls", words, 3), "tls_starttls", "startls");
	tap_ok(text_nearest("elephant", words, 3) == NULL, "elephant");
}

int
main(void)
{
	test_escape();
	test_numbers();
	test_printing();
	test_percent();
	test_nearest();
	return tap_done();
}
