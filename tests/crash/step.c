/* SPDX-License-Identifier: ISC */
/*
 * step: run a command and do something to it at one of its system calls.
 *
 *	step [-c CLASSES] [-p PROCESS] [-n N] [-a ACTION] [-s] [-t SECONDS]
 *	    -l LOG -- COMMAND ...
 *
 * The calls that matter stop in front of the kernel (seccomp with user
 * notification) and are counted, per process and in classes:
 *
 *	m  what changes a file system
 *	r  what reads one
 *	n  network, pipes and waiting
 *	p  fork, wait, exit, kill
 *
 * Processes are numbered as they appear, from 0.  At the Nth call of process
 * PROCESS that is in CLASSES the ACTION takes place, before the call:
 *
 *	kill		SIGKILL for that process and number 0
 *	kill-caller	SIGKILL for that process
 *	kill-first	SIGKILL for number 0
 *	term|int|hup	that signal for number 0; the call goes on
 *	term-caller|... for that process
 *	term-all|...	for both
 *	ENOSPC, ...	the call fails so and does nothing
 *	short		half of a write is done, of a writev its first piece,
 *			and told so
 *
 * To stop after a call is to stop before the next one.  With -s all calls of
 * the same name by this process fail from there on.
 *
 * LOG gets a line for each counted call, "PROCESS N CLASS NAME FILE", and at
 * the end "end exit|signal|hung NUMBER MILLISECONDS FIRED": how the command
 * ended, how long after the action the last process was gone, and whether it
 * took place.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 256
#define HANDOVER_FD 97 /* sendmsg is let through there */

enum operands {
	NONE,
	FD,	 /* args[0] is a descriptor */
	PATH,	 /* args[0] is a path */
	AT,	 /* args[0] and args[1] are directory and path */
	AT_TO,	 /* and args[2] and args[3], which are told */
	PATH_TO, /* args[1] is told */
};

struct call {
	const char *name;
	int number;
	char class;
	enum operands operands;
};

static const struct call calls[] = {
#ifdef __NR_open
    {"open", __NR_open, 'm', PATH},
    {"creat", __NR_creat, 'm', PATH},
    {"rename", __NR_rename, 'm', PATH_TO},
    {"link", __NR_link, 'm', PATH_TO},
    {"unlink", __NR_unlink, 'm', PATH},
    {"mkdir", __NR_mkdir, 'm', PATH},
    {"chmod", __NR_chmod, 'm', PATH},
    {"stat", __NR_stat, 'r', PATH},
    {"lstat", __NR_lstat, 'r', PATH},
    {"access", __NR_access, 'r', PATH},
    {"readlink", __NR_readlink, 'r', PATH},
    {"poll", __NR_poll, 'n', NONE},
    {"fork", __NR_fork, 'p', NONE},
    {"vfork", __NR_vfork, 'p', NONE},
#endif
    {"openat", __NR_openat, 'm', AT},
    {"write", __NR_write, 'm', FD},
    {"pwrite64", __NR_pwrite64, 'm', FD},
    {"writev", __NR_writev, 'm', FD},
    {"fdatasync", __NR_fdatasync, 'm', FD},
    {"fsync", __NR_fsync, 'm', FD},
    {"syncfs", __NR_syncfs, 'm', FD},
    {"sync_file_range", __NR_sync_file_range, 'm', FD},
#ifdef __NR_renameat
    {"renameat", __NR_renameat, 'm', AT_TO},
#endif
    {"renameat2", __NR_renameat2, 'm', AT_TO},
    {"linkat", __NR_linkat, 'm', AT_TO},
    {"unlinkat", __NR_unlinkat, 'm', AT},
    {"ftruncate", __NR_ftruncate, 'm', FD},
    {"fallocate", __NR_fallocate, 'm', FD},
    {"fallocate", __NR_fallocate, 'm', FD},
    {"mkdirat", __NR_mkdirat, 'm', AT},
    {"fchmod", __NR_fchmod, 'm', FD},
    {"fcntl", __NR_fcntl, 'm', FD},
    {"flock", __NR_flock, 'm', FD},
    {"read", __NR_read, 'r', FD},
    {"pread64", __NR_pread64, 'r', FD},
    {"lseek", __NR_lseek, 'r', FD},
    {"close", __NR_close, 'r', FD},
    {"fstat", __NR_fstat, 'r', FD},
    {"newfstatat", __NR_newfstatat, 'r', AT},
    {"statx", __NR_statx, 'r', AT},
    {"faccessat", __NR_faccessat, 'r', AT},
    {"faccessat2", __NR_faccessat2, 'r', AT},
    {"getdents64", __NR_getdents64, 'r', FD},
    {"socket", __NR_socket, 'n', NONE},
    {"socketpair", __NR_socketpair, 'n', NONE},
    {"pipe2", __NR_pipe2, 'n', NONE},
    {"connect", __NR_connect, 'n', FD},
    {"sendto", __NR_sendto, 'n', FD},
    {"recvfrom", __NR_recvfrom, 'n', FD},
    {"sendmsg", __NR_sendmsg, 'n', FD},
    {"recvmsg", __NR_recvmsg, 'n', FD},
    {"shutdown", __NR_shutdown, 'n', FD},
    {"ppoll", __NR_ppoll, 'n', NONE},
    {"clone", __NR_clone, 'p', NONE},
    {"clone3", __NR_clone3, 'p', NONE},
    {"wait4", __NR_wait4, 'p', NONE},
    {"waitid", __NR_waitid, 'p', NONE},
    {"kill", __NR_kill, 'p', NONE},
    {"exit_group", __NR_exit_group, 'p', NONE},
};

#define N_CALLS (sizeof(calls) / sizeof(calls[0]))

static const struct {
	const char *name;
	int number;
} errors[] = {
    {"ENOSPC", ENOSPC},
    {"EDQUOT", EDQUOT},
    {"EIO", EIO},
    {"EROFS", EROFS},
    {"EMFILE", EMFILE},
    {"EACCES", EACCES},
    {"ENOMEM", ENOMEM},
    {"ECONNRESET", ECONNRESET},
    {"EPIPE", EPIPE},
    {"ENOENT", ENOENT},
};

struct step {
	const char *classes;
	const char *action;
	int process;
	long n;
	bool sticky;
	int64_t limit; /* milliseconds */
	FILE *log;

	int listener;
	pid_t command;
	int status; /* of the command, once it has ended */
	bool ended;
	bool fired;
	bool hung;
	int fired_call; /* number, for sticky */
	int64_t fired_at;
	size_t n_processes;
	pid_t processes[PROCESSES_MAX];
	long counts[PROCESSES_MAX];
};

static void
die(const char *what)
{
	perror(what);
	exit(125);
}

static int64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* -- the command's side -- */

static void
stop_calls(struct sock_filter *code, size_t *n)
{
	const struct sock_filter notify =
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);

	code[(*n)++] = (struct sock_filter)BPF_STMT(
	    BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < N_CALLS; i++) {
		if (calls[i].number == __NR_sendmsg)
			continue;
		code[(*n)++] = (struct sock_filter)BPF_JUMP(
		    BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i].number, 0, 1);
		code[(*n)++] = notify;
	}
	code[(*n)++] = (struct sock_filter)BPF_JUMP(
	    BPF_JMP | BPF_JEQ | BPF_K, __NR_sendmsg, 0, 3);
	code[(*n)++] = (struct sock_filter)BPF_STMT(
	    BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]));
	code[(*n)++] = (struct sock_filter)BPF_JUMP(
	    BPF_JMP | BPF_JEQ | BPF_K, HANDOVER_FD, 1, 0);
	code[(*n)++] = notify;
	code[(*n)++] =
	    (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
}

static int
listen_to_calls(void)
{
	struct sock_filter code[2 * N_CALLS + 16];
	struct sock_fprog program = {.filter = code};
	unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	size_t n = 0;
	long fd;

	stop_calls(code, &n);
	program.len = (unsigned short)n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		die("PR_SET_NO_NEW_PRIVS");
		/* A signal must not make the call vanish and come again. */
#ifdef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd = syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
	    flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
	if (fd != -1)
		return (int)fd;
#endif
	fd = syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (fd == -1)
		die("seccomp");
	return (int)fd;
}

/* A message with one descriptor in it. */
union passing {
	char space[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static void
hand_over(int fd)
{
	union passing control = {{0}};
	struct iovec one = {(char[1]){0}, 1};
	struct msghdr message = {.msg_iov = &one,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	if (sendmsg(HANDOVER_FD, &message, 0) == -1)
		die("sendmsg");
}

static int
take_over(int from)
{
	union passing control = {{0}};
	struct iovec one = {(char[1]){0}, 1};
	struct msghdr message = {.msg_iov = &one,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space)};
	int fd;

	if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) <= 0 ||
	    CMSG_FIRSTHDR(&message) == NULL)
		die("recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

static void
start(struct step *step, char **argv)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
		die("socketpair");
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	step->command = fork();
	if (step->command == -1)
		die("fork");
	if (step->command == 0) {
		dup3(pair[1], HANDOVER_FD, O_CLOEXEC);
		hand_over(listen_to_calls());
		/* From here on all waits for the other side.  What it hears of
		 * the descriptors below comes from before the exec. */
		close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
		execv(argv[0], argv);
		die(argv[0]);
	}
	close(pair[1]);
	step->listener = take_over(pair[0]);
	close(pair[0]);
}

/* -- what a call is about -- */

static const struct call *
call_of(int number)
{
	for (size_t i = 0; i < N_CALLS; i++)
		if (calls[i].number == number)
			return &calls[i];
	return NULL;
}

static void
read_link(char dst[PATH_MAX], pid_t pid, const char *what, int fd)
{
	char path[64];
	ssize_t n;

	if (fd >= 0)
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
	else
		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	n = readlink(path, dst, PATH_MAX - 1);
	dst[n > 0 ? n : 0] = '\0';
}

static void
read_memory(pid_t pid, uint64_t at, char *dst, size_t n)
{
	struct iovec to = {dst, n}, from = {(void *)(uintptr_t)at, n};
	char path[64];
	int fd;

	/* Up to the end of a page; the next one may not be there. */
	if (process_vm_readv(pid, &to, 1, &from, 1, 0) > 0)
		return;
	/* Not dumpable: then root alone, and this way. */
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1 || pread(fd, dst, n, (off_t)at) <= 0)
		dst[0] = '\0';
	if (fd != -1)
		close(fd);
}

static void
read_string(char dst[PATH_MAX], pid_t pid, uint64_t at)
{
	size_t n = 4096 - at % 4096;

	memset(dst, 0, PATH_MAX);
	read_memory(pid, at, dst, n < PATH_MAX - 1 ? n : PATH_MAX - 1);
	if (strlen(dst) == n)
		read_memory(pid, at + n, dst + n, PATH_MAX - 1 - n);
}

static void
read_at(char dst[PATH_MAX], pid_t pid, uint64_t dir, uint64_t path)
{
	char name[PATH_MAX], base[PATH_MAX];

	read_string(name, pid, path);
	if (name[0] == '/') {
		strcpy(dst, name);
		return;
	}
	read_link(base, pid, "cwd", (int)dir == AT_FDCWD ? -1 : (int)dir);
	if (snprintf(dst, PATH_MAX, "%s%s%s", base, name[0] != '\0' ? "/" : "",
		name) >= PATH_MAX)
		dst[PATH_MAX - 1] = '\0';
}

static void
read_file(char dst[PATH_MAX], const struct call *call, pid_t pid,
    const struct seccomp_data *data)
{
	const __u64 *args = data->args;

	dst[0] = '\0';
	if (call->operands == FD)
		read_link(dst, pid, "", (int)args[0]);
	else if (call->operands == PATH)
		read_at(dst, pid, (uint64_t)AT_FDCWD, args[0]);
	else if (call->operands == AT)
		read_at(dst, pid, args[0], args[1]);
	else if (call->operands == AT_TO)
		read_at(dst, pid, args[2], args[3]);
	else if (call->operands == PATH_TO)
		read_at(dst, pid, (uint64_t)AT_FDCWD, args[1]);
}

/* -- our side -- */

static int
process_of(struct step *step, pid_t pid)
{
	for (size_t i = 0; i < step->n_processes; i++)
		if (step->processes[i] == pid)
			return (int)i;
	if (step->n_processes == PROCESSES_MAX)
		return PROCESSES_MAX - 1;
	step->processes[step->n_processes] = pid;
	return (int)step->n_processes++;
}

static void
signal_who(struct step *step, const char *who, pid_t caller, int signo)
{
	if (strcmp(who, "-first") != 0 && who[0] != '\0')
		kill(caller, signo);
	if (strcmp(who, "-caller") != 0 && step->command != caller)
		kill(step->command, signo);
	else if (who[0] == '\0' || strcmp(who, "-first") == 0)
		kill(step->command, signo);
}

static bool
act_by_signal(struct step *step, pid_t caller)
{
	static const struct {
		const char *word;
		int signo;
	} words[] = {{"term", SIGTERM}, {"int", SIGINT}, {"hup", SIGHUP}};
	const char *action = step->action;

	if (strncmp(action, "kill", 4) == 0) {
		signal_who(step, action[4] == '\0' ? "-all" : action + 4,
		    caller, SIGKILL);
		return true;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = strlen(words[i].word);

		if (strncmp(action, words[i].word, n) != 0)
			continue;
		signal_who(step, action + n, caller, words[i].signo);
		return true;
	}
	return false;
}

static int
error_of(const char *name)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (strcmp(errors[i].name, name) == 0)
			return errors[i].number;
	return 0;
}

/* Where the bytes of a write are, and how many are written of them: half,
 * of several pieces the first. */
static struct iovec
shortened(pid_t pid, const struct seccomp_data *data)
{
	struct iovec piece = {.iov_len = 0};

	if (data->nr == __NR_writev && data->args[2] > 1)
		read_memory(pid, data->args[1], (char *)&piece, sizeof(piece));
	if (data->nr == __NR_write || data->nr == __NR_pwrite64)
		piece = (struct iovec){(void *)(uintptr_t)data->args[1],
		    (size_t)data->args[2] / 2};
	return piece;
}

/* Write less than asked through the same open file; the length or -1. */
static ssize_t
write_less(pid_t pid, const struct seccomp_data *data)
{
	int process = (int)syscall(__NR_pidfd_open, pid, 0);
	int fd = (int)syscall(__NR_pidfd_getfd, process, (int)data->args[0], 0);
	struct iovec piece = shortened(pid, data);
	char *bytes = malloc(piece.iov_len + 1);
	ssize_t done = -1;

	if (bytes != NULL && fd != -1 && piece.iov_len > 0) {
		read_memory(pid, (uint64_t)(uintptr_t)piece.iov_base, bytes,
		    piece.iov_len);
		done = data->nr == __NR_pwrite64
		    ? pwrite(fd, bytes, piece.iov_len, (off_t)data->args[3])
		    : write(fd, bytes, piece.iov_len);
	}
	free(bytes);
	close(fd);
	close(process);
	return done;
}

static void
act(struct step *step, const struct seccomp_notif *call,
    struct seccomp_notif_resp *answer)
{
	ssize_t done;

	if (!step->fired)
		step->fired_at = now();
	step->fired = true;
	step->fired_call = call->data.nr;
	if (act_by_signal(step, (pid_t)call->pid))
		return;
	if (strcmp(step->action, "short") == 0) {
		done = write_less((pid_t)call->pid, &call->data);
		if (done <= 0)
			return;
		answer->val = done;
	} else {
		answer->error = -error_of(step->action);
	}
	answer->flags = 0;
}

static bool
is_wanted(const struct step *step, int process, int number)
{
	if (step->n == 0 || process != step->process)
		return false;
	if (!step->fired)
		return step->counts[process] == step->n;
	return step->sticky && number == step->fired_call;
}

static void
count(struct step *step, const struct seccomp_notif *call,
    struct seccomp_notif_resp *answer)
{
	const struct call *what = call_of(call->data.nr);
	int process = process_of(step, (pid_t)call->pid);
	char file[PATH_MAX], class;

	if (what == NULL)
		return;
	read_file(file, what, (pid_t)call->pid, &call->data);
	class = what->class;
	if (strncmp(file, "socket:", 7) == 0 || strncmp(file, "pipe:", 5) == 0)
		class = 'n';
	if (strchr(step->classes, class) == NULL)
		return;
	step->counts[process]++;
	fprintf(step->log, "%d %ld %c %s %s\n", process, step->counts[process],
	    class, what->name, file);
	if (is_wanted(step, process, call->data.nr))
		act(step, call, answer);
}

static void
reap(struct step *step, int flags)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, flags)) > 0)
		if (pid == step->command) {
			step->status = status;
			step->ended = true;
		}
}

static void
take_call(struct step *step)
{
	struct seccomp_notif call = {0};
	struct seccomp_notif_resp answer = {0};

	if (ioctl(step->listener, SECCOMP_IOCTL_NOTIF_RECV, &call) == -1)
		return;
	answer.id = call.id;
	answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	count(step, &call, &answer);
	/* It fails for a process that was killed meanwhile. */
	ioctl(step->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

static void
kill_all(struct step *step)
{
	step->hung = true;
	kill(step->command, SIGKILL);
	for (size_t i = 0; i < step->n_processes; i++)
		kill(step->processes[i], SIGKILL);
}

static void
watch(struct step *step)
{
	struct pollfd one = {.fd = step->listener, .events = POLLIN};
	int64_t until = now() + step->limit;

	for (;;) {
		int ready = poll(&one, 1, 100);

		reap(step, WNOHANG);
		if (ready > 0 && (one.revents & POLLIN) != 0)
			take_call(step);
		else if (ready > 0)
			break; /* nobody is left */
		if (now() >= until && !step->hung)
			kill_all(step);
	}
	reap(step, 0);
}

static void
report(const struct step *step)
{
	bool by_signal = WIFSIGNALED(step->status);

	fprintf(step->log, "end %s %d %lld %d\n",
	    step->hung	    ? "hung"
		: by_signal ? "signal"
			    : "exit",
	    by_signal ? WTERMSIG(step->status) : WEXITSTATUS(step->status),
	    step->fired ? (long long)(now() - step->fired_at) : 0LL,
	    step->fired);
	fclose(step->log);
}

static int
usage(void)
{
	fprintf(stderr,
	    "usage: step [-c CLASSES] [-p PROCESS] [-n N] [-a ACTION] [-s] "
	    "[-t SECONDS] -l LOG -- COMMAND ...\n");
	return 64;
}

int
main(int argc, char **argv)
{
	struct step step = {
	    .classes = "mrnp", .action = "kill", .limit = 60000};
	int option;

	while ((option = getopt(argc, argv, "+c:p:n:a:st:l:")) != -1) {
		switch (option) {
		case 'c':
			step.classes = optarg;
			break;
		case 'p':
			step.process = atoi(optarg);
			break;
		case 'n':
			step.n = atol(optarg);
			break;
		case 'a':
			step.action = optarg;
			break;
		case 's':
			step.sticky = true;
			break;
		case 't':
			step.limit = atol(optarg) * 1000;
			break;
		case 'l':
			step.log = fopen(optarg, "we");
			break;
		default:
			return usage();
		}
	}
	if (step.log == NULL || optind >= argc)
		return usage();
	start(&step, argv + optind);
	watch(&step);
	report(&step);
	return 0;
}
