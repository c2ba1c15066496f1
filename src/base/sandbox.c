/* SPDX-License-Identifier: ISC */
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define ABI_NEEDED 2 /* renames between directories: REFER */
#define ABI_TRUNCATE 3

/* Headers older than the kernel do not name it. */
#define ACCESS_TRUNCATE (UINT64_C(1) << 14)

static const __u64 writes = LANDLOCK_ACCESS_FS_WRITE_FILE |
    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
    LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
static const __u64 reads = LANDLOCK_ACCESS_FS_EXECUTE |
    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;

/* A directory that is there and cannot be allowed would be closed for no
 * reason that anybody could see: then rather no sandbox.  One that allows all
 * ends the kernel's way up to the root, at each rename twice; programs in it
 * could do no more than this process can. */
static bool
allow(int ruleset, const char *directory, __u64 access)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = access};
	bool allowed;

	rule.parent_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rule.parent_fd == -1)
		return errno == ENOENT;
	allowed = syscall(SYS_landlock_add_rule, ruleset,
		      LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
	close(rule.parent_fd);
	return allowed;
}

bool
sandbox_enter(
    enum sandbox_level level, const char *const *directories, size_t n)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = {.handled_access_fs = writes};
	bool entered = true;
	int ruleset;

	if (abi < ABI_NEEDED)
		return false;
	if (abi >= ABI_TRUNCATE)
		attr.handled_access_fs |= ACCESS_TRUNCATE;
	if (level == SANDBOX_ALL)
		attr.handled_access_fs |= reads;
	ruleset =
	    (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset == -1)
		return false;
	for (size_t i = 0; i < n && entered; i++)
		entered =
		    allow(ruleset, directories[i], attr.handled_access_fs);
	entered = entered && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	    syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
	close(ruleset);
	return entered;
}

#elif defined(__OpenBSD__)

bool
sandbox_enter(
    enum sandbox_level level, const char *const *directories, size_t n)
{
	const char *elsewhere = level == SANDBOX_ALL ? NULL : "rx";

	if (elsewhere != NULL && unveil("/", elsewhere) == -1)
		return false;
	for (size_t i = 0; i < n; i++)
		unveil(directories[i], "rwc");
	if (level != SANDBOX_ALL)
		return true;
	return pledge("stdio rpath wpath cpath fattr flock inet unix", NULL) ==
	    0;
}

#else

bool
sandbox_enter(
    enum sandbox_level level, const char *const *directories, size_t n)
{
	(void)level;
	(void)directories;
	(void)n;
	return false;
}

#endif
