/* SPDX-License-Identifier: ISC */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#define STACK_WIPED ((size_t)32 << 10) /* far deeper than a login goes */

static void *
there(void *memory)
{
	static const char text[] = "poplar: out of memory\n";

	if (memory == NULL) {
		(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
		_exit(EX_OSERR);
	}
	return memory;
}

void *
mem_alloc(size_t size)
{
	return there(malloc(size > 0 ? size : 1));
}

void *
mem_zero(size_t count, size_t size)
{
	return there(calloc(count > 0 ? count : 1, size > 0 ? size : 1));
}

void *
mem_grow(void *old, size_t count, size_t size)
{
	return there(reallocarray(old, count > 0 ? count : 1, size));
}

void *
mem_room(void *array, size_t n, size_t size)
{
	if ((n & (n - 1)) != 0)
		return array;
	return mem_grow(array, n > 0 ? 2 * n : 1, size);
}

char *
mem_dup(const char *string)
{
	return there(strdup(string));
}

char *
mem_printf(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) == -1)
		text = NULL;
	va_end(ap);
	return there(text);
}

void
mem_keep_private(void)
{
	const struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
#ifdef __linux__
	prctl(PR_SET_DUMPABLE, 0);
#endif
}

void
mem_free_secret(char *secret)
{
	if (secret == NULL)
		return;
	explicit_bzero(secret, strlen(secret));
	free(secret);
}

void
mem_wipe_stack(void)
{
	char below[STACK_WIPED];

	explicit_bzero(below, sizeof(below));
}
