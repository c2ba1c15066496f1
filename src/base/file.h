/* SPDX-License-Identifier: ISC */
/* Files, directories, and making both durable. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Write all n bytes at the descriptor's offset, or at another; -1 with
 * errno. */
int file_write(int fd, const void *data, size_t n);
int file_pwrite(int fd, const void *data, size_t n, off_t at);

/* Bytes n of what was written at an offset (0: all behind it) may go to the
 * disk now.  Only a hint: what it cannot start, fdatasync does. */
void file_start_write_out(int fd, uint64_t at, uint64_t n);

/* The same through err, naming the file. */
int file_write_named(
    int fd, const void *data, size_t n, const char *path, struct err *err);

/* fdatasync; a failure is final, the data must be taken for lost. */
int file_sync(int fd, const char *path, struct err *err);

/* Make the entries of the directory that holds path durable. */
int file_sync_parent(const char *path, struct err *err);

/* Make the missing directories above path (0700), each one durably. */
int file_make_parents(const char *path, struct err *err);

/*
 * open(2) with O_CLOEXEC for a regular file or a link to one; anything else
 * (a directory, a device, a FIFO) is ERR_CANTCREAT.  Never blocks.
 * Returns the descriptor.
 */
int file_open(const char *path, int flags, mode_t mode, struct err *err);

/* No program that is started gets the descriptors from this one on. */
void file_keep_from(int first);

/* A file without a name in $TMPDIR, else /var/tmp.  Returns the descriptor. */
int file_unnamed(struct err *err);

/* "cannot VERB a temporary file in DIR", with errno: such a file.  -1. */
int file_unnamed_failed(const char *verb, struct err *err);

/* A new string in which a leading "~" is the home directory. */
char *file_expand_home(const char *path);

/* A new string with the directory part of path, "." if it has none. */
char *file_parent(const char *path);

/* The file itself behind all links, absolute, if it is there or could be made
 * in a directory that is; free it.  NULL with errno. */
char *file_resolve(const char *path);

#endif
