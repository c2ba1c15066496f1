/* SPDX-License-Identifier: ISC */
/* The Test Anything Protocol for unit tests, in one page. */
#ifndef TESTS_UNIT_TAP_H
#define TESTS_UNIT_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int tap_count, tap_failures;

/* One test point; returns cond. */
__attribute__((format(printf, 2, 3), unused)) static bool
tap_ok(bool cond, const char *fmt, ...)
{
	va_list ap;

	tap_failures += !cond;
	printf("%s %d - ", cond ? "ok" : "not ok", ++tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	return cond;
}

/* Equal strings, shown when they are not. */
__attribute__((unused)) static bool
tap_is(const char *got, const char *expected, const char *name)
{
	bool same = got != NULL && expected != NULL ? strcmp(got, expected) == 0
						    : got == expected;

	tap_ok(same, "%s", name);
	if (!same)
		printf("#      got: %s\n# expected: %s\n",
		    got != NULL ? got : "(null)",
		    expected != NULL ? expected : "(null)");
	return same;
}

/* The plan, and the exit status for main. */
__attribute__((unused)) static int
tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failures > 0;
}

#endif
