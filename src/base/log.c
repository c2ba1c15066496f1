/* SPDX-License-Identifier: ISC */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/mem.h"

#define LOG_TEXT_MAX 2048
#define SECRETS_MAX 16
#define SECRET_MIN 3

static struct {
	enum log_level level;
	log_sink *sink;
	void *context;
	size_t n_secrets;
	struct buf secrets[SECRETS_MAX];
} logger;

void
log_open(enum log_level level, log_sink *sink, void *context)
{
	logger.level = level;
	logger.sink = sink;
	logger.context = context;
}

bool
log_wants(enum log_level level)
{
	return logger.sink != NULL && level <= logger.level;
}

void
log_say(enum log_level level, const char *fmt, ...)
{
	char text[LOG_TEXT_MAX];
	va_list ap;

	if (!log_wants(level))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text[log_masked(text, strlen(text))] = '\0';
	logger.sink(logger.context, level, text);
}

static void
mask_bytes(const char *secret, size_t n)
{
	if (n >= SECRET_MIN && logger.n_secrets < SECRETS_MAX)
		buf_append(&logger.secrets[logger.n_secrets++], secret, n);
}

void
log_mask(const char *secret, size_t n)
{
	char *encoded;

	mask_bytes(secret, n);
	encoded = digest_base64(secret, n);
	mask_bytes(encoded, strlen(encoded));
	mem_free_secret(encoded);
}

void
log_forget(void)
{
	while (logger.n_secrets > 0)
		buf_wipe(&logger.secrets[--logger.n_secrets]);
}

static size_t
mask_one(const struct buf *secret, char *data, size_t n)
{
	static const char stars[] = "****";
	size_t width =
	    secret->len < sizeof(stars) - 1 ? secret->len : sizeof(stars) - 1;
	char *from = data, *at;

	while ((at = memmem(from, n - (size_t)(from - data), secret->data,
		    secret->len)) != NULL) {
		char *rest = at + secret->len;

		memcpy(at, stars, width);
		memmove(at + width, rest, n - (size_t)(rest - data));
		n -= secret->len - width;
		from = at + width;
	}
	return n;
}

size_t
log_masked(char *data, size_t n)
{
	for (size_t i = 0; i < logger.n_secrets; i++)
		n = mask_one(&logger.secrets[i], data, n);
	return n;
}
