/* SPDX-License-Identifier: ISC */
/* Give up, for good, what of the file system is not needed any more. */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

enum sandbox_level {
	SANDBOX_WRITES, /* no writes but below the directories */
	SANDBOX_ALL,	/* no reads and no programs elsewhere either */
};

/*
 * Confine this process and all its children to n directories: Landlock (ABI 2
 * or later) on Linux, unveil(2) and pledge(2) on OpenBSD.  What is open stays
 * usable; a directory that does not exist is passed over.  With privileges to
 * be gained by exec (setgid programs) it does away, too.  False where the
 * system knows no such thing: it is a second line of defence.
 */
bool sandbox_enter(
    enum sandbox_level level, const char *const *directories, size_t n);

#endif
