/* SPDX-License-Identifier: ISC */
/*
 * Many files made durable while the caller does other things.  The flushes of
 * a disk's cache that are asked for at the same time are one, so several
 * threads ask.
 */
#ifndef BASE_FLUSH_H
#define BASE_FLUSH_H

#include <stdbool.h>
#include <stddef.h>

/*
 * For up to room (at least 1) descriptors at a time.  Without helpers, or
 * where the system gives none, the caller does it all.
 */
struct flush;
struct flush *flush_new(size_t room, bool helpers);

/*
 * Take over a descriptor: fdatasync(2) and close(2) it, in any order with the
 * others, before flush_wait returns.  Where there is no room, helps until
 * there is.  Failures are told by flush_wait.
 */
void flush_add(struct flush *flush, int fd);

/*
 * Wait, helping, until all are closed.  Returns 0 if all are durable; or -1
 * with errno and in *failed how many were added, since it last returned,
 * before one that failed: what came after that may not have been tried.
 */
int flush_wait(struct flush *flush, size_t *failed);

/* Nobody wants them any more: all are closed, and none that nobody is at yet is
 * flushed.  A request to stop does not wait for the disk. */
void flush_drop(struct flush *flush);

/* Drop all, and wait for the helpers to end; NULL is nothing. */
void flush_free(struct flush *flush);

#endif
