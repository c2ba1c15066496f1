/* SPDX-License-Identifier: ISC */
/* The reason object: why something failed, filled where that is known. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

/* The class alone picks exit code, retry and the word in machine output. */
enum err_class {
	ERR_NONE,
	ERR_USAGE,	 /* 64: the command line */
	ERR_NOHOST,	 /* 68: host name not found */
	ERR_UNAVAILABLE, /* 69: refused, unreachable, or a final no */
	ERR_SOFTWARE,	 /* 70: a bug of ours */
	ERR_OS,		 /* 71: the operating system refused */
	ERR_CANTCREAT,	 /* 73: destination or state cannot be created */
	ERR_IO,		 /* 74: input or output failed, disk full */
	ERR_TEMPFAIL,	 /* 75: try again later */
	ERR_PROTOCOL,	 /* 76: the server makes no sense, or TLS failed */
	ERR_NOPERM,	 /* 77: login refused */
	ERR_CONFIG,	 /* 78: the rc file */
};

#define ERR_TEXT_MAX 1536
#define ERR_HINT_MAX 512

/*
 * One line of text without a line end, and where it is known a second one
 * that says what to do.  Both are bounded, printable and owned by the struct.
 */
struct err {
	enum err_class class;
	bool quiet; /* off a terminal the exit code says enough */
	char text[ERR_TEXT_MAX];
	char hint[ERR_HINT_MAX];
};

/* Fill *err anew; always returns -1, so that callers can return it. */
int err_set(struct err *err, enum err_class class, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set, with ": " and the meaning of errno appended. */
int err_set_errno(struct err *err, enum err_class class, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The class that a failed write or open to a file deserves, by errno. */
enum err_class err_class_of_errno(int error);

/* Put "prefix: " before the text.  Always returns -1. */
int err_prefix(struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Say what to do about it.  Always returns -1. */
int err_hint(struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The exit code of sysexits(3) for a class; 0 for ERR_NONE. */
int err_exit_code(enum err_class class);

#endif
