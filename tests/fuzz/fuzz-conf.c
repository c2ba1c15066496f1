/* SPDX-License-Identifier: ISC */
/* An rc file; what is printed of it must read as the same settings. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool holds)
{
	if (!holds)
		abort();
}

/* No input may run commands or read files: "passwordeval", which nothing
 * here runs, is the only word in which these may stand. */
static bool
is_harmless(const uint8_t *data, size_t size)
{
	static const char password[] = "password";
	const size_t before = sizeof(password) - 1;

	for (size_t i = 0; i < size; i++) {
		const char *at = (const char *)data + i;

		if (size - i >= 7 && strncasecmp(at, "include", 7) == 0)
			return false;
		if (size - i >= 4 && strncasecmp(at, "eval", 4) == 0 &&
		    (i < before ||
			strncasecmp(at - before, password, before) != 0))
			return false;
	}
	return true;
}

static struct conf *
read_bytes(const void *data, size_t size, struct err *err)
{
	int fd = memfd_create("rc", MFD_CLOEXEC);
	char path[64];
	struct conf *conf;

	*err = (struct err){0};
	check(fd != -1 && file_write(fd, data, size) == 0);
	check(fchmod(fd, 0600) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	conf = conf_read(path, err);
	close(fd);
	return conf;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf first = {0}, second = {0};
	struct conf *conf, *again;
	struct err err;

	if (!is_harmless(data, size))
		return 0;
	conf = read_bytes(data, size, &err);
	if (conf == NULL) {
		check(err.class == ERR_CONFIG && err.text[0] != '\0');
		return 0;
	}
	if (conf_finish(conf, NULL, 0, &err) == 0) {
		conf_format(conf, &first);
		again = read_bytes(first.data, first.len, &err);
		check(again != NULL);
		check(conf_finish(again, NULL, 0, &err) == 0);
		conf_format(again, &second);
		check(first.len == second.len);
		check(memcmp(first.data, second.data, first.len) == 0);
		conf_free(again);
	} else
		check(err.class == ERR_CONFIG && err.text[0] != '\0');
	conf_free(conf);
	buf_free(&first);
	buf_free(&second);
	return 0;
}
