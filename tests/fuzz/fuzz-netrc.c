/* SPDX-License-Identifier: ISC */
/* A netrc file; a password that is found reads the same when it is written as
 * an entry of its own. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "run/netrc.h"

#define HOST "pop.example.org"
#define USER "joe"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool holds)
{
	if (!holds)
		abort();
}

static void
put_entry(struct buf *text, const char *password)
{
	buf_puts(text, "machine " HOST " login " USER " password \"");
	for (; *password != '\0'; password++) {
		buf_append(text, "\\", 1);
		buf_append(text, password, 1);
	}
	buf_puts(text, "\"");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct buf entry = {0};
	char *password, *again;

	/* The caller refuses such a file. */
	if (size > 0 && memchr(text, '\0', size) != NULL)
		return 0;
	password = netrc_password(text, size, HOST, USER);
	if (password == NULL)
		return 0;
	check(strlen(password) < size);
	put_entry(&entry, password);
	again = netrc_password(entry.data, entry.len, HOST, USER);
	check(again != NULL && strcmp(again, password) == 0);
	mem_free_secret(password);
	mem_free_secret(again);
	buf_free(&entry);
	return 0;
}
