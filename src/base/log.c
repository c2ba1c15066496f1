/* SPDX-License-Identifier: ISC */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/text.h"

#define LOG_TEXT_MAX 2048
#define SECRETS_MAX 64
#define SECRET_MIN 3

/* What is to be masked, itself unreadable in a dump of the memory. */
struct mask {
	struct buf text; /* the secret, each byte changed by that of pad */
	struct buf pad;
};

static struct {
	enum log_level level;
	log_sink *sink;
	void *context;
	size_t n_secrets;
	struct mask secrets[SECRETS_MAX];
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
apply_pad(const struct mask *mask, char *to)
{
	for (size_t i = 0; i < mask->text.len; i++)
		to[i] = (char)(mask->text.data[i] ^ mask->pad.data[i]);
}

static void
mask_bytes(const char *secret, size_t n)
{
	struct mask *mask;

	if (n < SECRET_MIN || logger.n_secrets == SECRETS_MAX)
		return;
	mask = &logger.secrets[logger.n_secrets++];
	arc4random_buf(buf_room(&mask->pad, n), n);
	mask->pad.len = n;
	buf_append(&mask->text, secret, n);
	apply_pad(mask, mask->text.data);
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
	while (logger.n_secrets > 0) {
		struct mask *mask = &logger.secrets[--logger.n_secrets];

		buf_wipe(&mask->text);
		buf_wipe(&mask->pad);
	}
}

static size_t
replace(const struct buf *secret, char *data, size_t n)
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
	for (size_t i = 0; i < logger.n_secrets; i++) {
		const struct mask *mask = &logger.secrets[i];
		struct buf secret = {0};

		apply_pad(mask, buf_room(&secret, mask->text.len));
		secret.len = mask->text.len;
		n = replace(&secret, data, n);
		buf_wipe(&secret);
	}
	return n;
}

char *
log_printable(char *dst, size_t size, const void *src, size_t n)
{
	struct buf masked = {0};

	buf_room(&masked, n + 1);
	buf_append(&masked, src, n);
	text_escape(dst, size, masked.data, log_masked(masked.data, n));
	buf_wipe(&masked);
	return dst;
}
