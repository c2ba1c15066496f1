/* SPDX-License-Identifier: ISC */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const int exit_codes[] = {
    [ERR_NONE] = EX_OK,
    [ERR_USAGE] = EX_USAGE,
    [ERR_NOHOST] = EX_NOHOST,
    [ERR_UNAVAILABLE] = EX_UNAVAILABLE,
    [ERR_SOFTWARE] = EX_SOFTWARE,
    [ERR_OS] = EX_OSERR,
    [ERR_CANTCREAT] = EX_CANTCREAT,
    [ERR_IO] = EX_IOERR,
    [ERR_TEMPFAIL] = EX_TEMPFAIL,
    [ERR_PROTOCOL] = EX_PROTOCOL,
    [ERR_NOPERM] = EX_NOPERM,
    [ERR_CONFIG] = EX_CONFIG,
};

__attribute__((format(printf, 3, 0))) static void
fill(struct err *err, enum err_class class, const char *fmt, va_list ap)
{
	err->class = class;
	err->quiet = false;
	err->hint[0] = '\0';
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
}

int
err_set(struct err *err, enum err_class class, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(err, class, fmt, ap);
	va_end(ap);
	return -1;
}

int
err_set_errno(struct err *err, enum err_class class, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	fill(err, class, fmt, ap);
	va_end(ap);
	strlcat(err->text, ": ", sizeof(err->text));
	strlcat(err->text, strerror(saved), sizeof(err->text));
	return -1;
}

enum err_class
err_class_of_errno(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case EACCES:
	case EPERM:
	case EROFS:
	case ELOOP:
	case EISDIR:
	case ENAMETOOLONG:
		return ERR_CANTCREAT;
	case ENOMEM:
		return ERR_OS;
	default:
		return ERR_IO;
	}
}

int
err_prefix(struct err *err, const char *fmt, ...)
{
	char head[256], tail[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(head, sizeof(head), fmt, ap);
	va_end(ap);
	strlcpy(tail, err->text, sizeof(tail));
	strlcpy(err->text, head, sizeof(err->text));
	strlcat(err->text, ": ", sizeof(err->text));
	strlcat(err->text, tail, sizeof(err->text));
	return -1;
}

int
err_hint(struct err *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	return -1;
}

int err_exit_code(enum err_class class)
{
	return exit_codes[class];
}
