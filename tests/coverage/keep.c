/* SPDX-License-Identifier: ISC */
/* Linked into each program of contrib/coverage, with --wrap: a worker ends by
 * _exit, and confined, which would cost its counts. */
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <stdnoreturn.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRUNCATE (1ULL << 14) /* headers may be older than the kernel */

void __gcov_dump(void);
noreturn void __real__exit(int status);
noreturn void __wrap__exit(int status);
long __real_syscall(long number, long a, long b, long c, long d);
long __wrap_syscall(long number, long a, long b, long c, long d);

void
__wrap__exit(int status)
{
	__gcov_dump();
	__real__exit(status);
}

/* COUNTS is the directory of the build.  What may be allowed is only what the
 * ruleset forbids, and that cannot be asked. */
static void
allow_counts(long ruleset)
{
	const __u64 write =
	    LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG;
	const __u64 read = LANDLOCK_ACCESS_FS_READ_FILE;
	const __u64 rights[] = {
	    write | read | TRUNCATE, write | TRUNCATE, write | read, write};
	struct landlock_path_beneath_attr rule = {
	    .parent_fd = open(COUNTS, O_PATH | O_CLOEXEC)};

	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
		rule.allowed_access = rights[i];
		if (__real_syscall(SYS_landlock_add_rule, ruleset,
			LANDLOCK_RULE_PATH_BENEATH, (long)&rule, 0) == 0)
			break;
	}
	close(rule.parent_fd);
}

long
__wrap_syscall(long number, long a, long b, long c, long d)
{
	if (number == SYS_landlock_restrict_self)
		allow_counts(a);
	return __real_syscall(number, a, b, c, d);
}
