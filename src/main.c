/* SPDX-License-Identifier: ISC */
/* Flags, verbs, exit code. */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"
#include "conf/conf.h"
#include "conf/keyword.h"
#include "pop3/sasl.h"
#include "run/secret.h"
#include "run/super.h"
#include "ui/screen.h"

#define JOBS_DEFAULT 8
#define JOBS_MAX 1000

/* Values of long options that have no letter; keywords come after them. */
enum {
	OPTION_DRY_RUN = 256,
	OPTION_HELP,
	OPTION_VERSION,
	OPTION_KEYWORD,
};

static const struct option fixed_options[] = {
    {"all-accounts", no_argument, NULL, 'a'},
    {"debug", no_argument, NULL, 'd'},
    {"dry-run", no_argument, NULL, OPTION_DRY_RUN},
    {"file", required_argument, NULL, 'C'},
    {"help", no_argument, NULL, OPTION_HELP},
    {"jobs", required_argument, NULL, 'j'},
    {"pretend", no_argument, NULL, 'P'},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"version", no_argument, NULL, OPTION_VERSION},
};

#define N_FIXED (sizeof(fixed_options) / sizeof(fixed_options[0]))

struct arguments {
	const char *file;
	size_t jobs;
	bool all;
	bool pretend;
	bool quiet;
	bool verbose;
	bool debug;
	bool has_host;
	struct fetch_options fetch;
	struct conf_override *overrides;
	size_t n_overrides;
	char *const *names;
	size_t n_names;
};

/* "tls-starttls" for the keyword tls_starttls; the caller frees it. */
static char *
option_name(const struct keyword *keyword)
{
	char *name = mem_dup(keyword->name);

	for (char *c = name; *c != '\0'; c++)
		if (*c == '_')
			*c = '-';
	return name;
}

/* Every rc keyword is an option too, secrets as well: the conf layer says
 * why they are refused. */
static struct option *
make_options(void)
{
	size_t n, used = N_FIXED;
	const struct keyword *table = keyword_table(&n);
	struct option *options = mem_zero(N_FIXED + n + 1, sizeof(*options));

	memcpy(options, fixed_options, sizeof(fixed_options));
	for (size_t i = 0; i < n; i++) {
		options[used++] = (struct option){
		    .name = option_name(&table[i]),
		    .has_arg = (table[i].flags & KEYWORD_EMPTY_IS_ON) != 0
			? optional_argument
			: required_argument,
		    .val = OPTION_KEYWORD + (int)i,
		};
	}
	return options;
}

static void
free_options(struct option *options)
{
	for (size_t i = N_FIXED; options[i].name != NULL; i++) {
		/* Ours, from option_name. */
		char *name = (char *)(uintptr_t)options[i].name;

		free(name);
	}
	free(options);
}

static void
add_override(struct arguments *args, const char *keyword, const char *value)
{
	args->overrides = mem_room(
	    args->overrides, args->n_overrides, sizeof(*args->overrides));
	args->overrides[args->n_overrides++] =
	    (struct conf_override){keyword, value};
	if (strcmp(keyword, "host") == 0)
		args->has_host = true;
}

static void
print_help(void)
{
	printf("usage: poplar [option ...] [account ...]\n"
	       "  -a, --all-accounts   every account of the rc file\n"
	       "  -C, --file FILE      another rc file, - for standard input\n"
	       "      --dry-run        say what would be done, change nothing\n"
	       "  -j, --jobs N         at most N accounts at a time (%d)\n"
	       "  -k                   keep: on, whatever the rc file says\n"
	       "  -n                   only_new: on\n"
	       "  -P, --pretend        print the effective settings\n"
	       "  -q, --quiet          errors only\n"
	       "  -v, --verbose        say more\n"
	       "  -d, --debug          show the conversation with the server\n"
	       "  -4, -6               that address family only\n"
	       "      --help, --version\n"
	       "      --keyword=value  any keyword of the rc file, for every "
	       "account\n"
	       "See poplar(1) and poplarrc(5).\n",
	    JOBS_DEFAULT);
}

static void
print_version(void)
{
	const char *sasl = sasl_library_version();

	printf("poplar %s\n%s, libbsd %s, xxHash %s, %s\n", PACKAGE_VERSION,
	    digest_library_version(), BSD_VERSION, XXHASH_VERSION,
	    sasl != NULL
		? sasl
		: "no GNU SASL (no CRAM-MD5, DIGEST-MD5, SCRAM, GSSAPI, "
		  "NTLM)");
}

static int
usage(void)
{
	fprintf(stderr, "poplar: see poplar --help\n");
	return EX_USAGE;
}

static int
set_jobs(struct arguments *args, const char *text)
{
	uint64_t jobs;

	if (!text_to_number(text, strlen(text), JOBS_MAX, &jobs) || jobs == 0) {
		fprintf(stderr, "poplar: --jobs: not a number from 1 to %d\n",
		    JOBS_MAX);
		return usage();
	}
	args->jobs = (size_t)jobs;
	return -1;
}

/* One option; returns an exit code, or -1 to go on. */
static int
take_option(struct arguments *args, int option)
{
	size_t n;
	const struct keyword *table = keyword_table(&n);

	switch (option) {
	case 'a':
		args->all = true;
		break;
	case 'C':
		args->file = optarg;
		break;
	case 'd':
		args->debug = true;
		break;
	case 'j':
		return set_jobs(args, optarg);
	case 'k':
		add_override(args, "keep", optarg != NULL ? optarg : "on");
		break;
	case 'n':
		add_override(args, "only_new", optarg != NULL ? optarg : "on");
		break;
	case 'P':
		args->pretend = true;
		break;
	case 'q':
		args->quiet = true;
		break;
	case 'v':
		args->verbose = true;
		break;
	case '4':
		args->fetch.session.family = AF_INET;
		break;
	case '6':
		args->fetch.session.family = AF_INET6;
		break;
	case OPTION_DRY_RUN:
		args->fetch.verb = FETCH_DRY_RUN;
		break;
	case OPTION_HELP:
		print_help();
		return EX_OK;
	case OPTION_VERSION:
		print_version();
		return EX_OK;
	default:
		add_override(args, table[option - OPTION_KEYWORD].name, optarg);
	}
	return -1;
}

/* How many long options begin with these n characters, or are just that. */
static size_t
count_options(const struct option *options, const char *name, size_t n)
{
	size_t count = 0;

	for (; options->name != NULL; options++) {
		if (strncmp(options->name, name, n) != 0)
			continue;
		if (options->name[n] == '\0')
			return 1;
		count++;
	}
	return count;
}

/* What getopt_long would say, but never the value: it may be a password. */
static int
complain(const struct option *options, const char *word, bool lacks_argument)
{
	bool is_long = strncmp(word, "--", 2) == 0;
	size_t n = strcspn(word, "="), known = 0;
	char letter[] = {'-', (char)optopt, '\0'};
	const char *why = "is unknown";

	if (is_long)
		known = count_options(options, word + 2, n - 2);
	if (lacks_argument)
		why = "requires an argument";
	else if (known == 1)
		why = "takes no argument";
	else if (known > 1)
		why = "is ambiguous";
	fprintf(stderr, "poplar: option %.*s %s\n", is_long ? (int)n : 2,
	    is_long ? word : letter, why);
	return usage();
}

static int
parse_arguments(int argc, char *argv[], struct arguments *args)
{
	struct option *options = make_options();
	int option, code = -1, at = optind;

	while (code == -1 &&
	    (option = getopt_long(
		 argc, argv, ":aC:dj:k::n::Pqv46", options, NULL)) != -1) {
		/* It stays at a word of several letters until the last one. */
		const char *word = optind > at ? argv[optind - 1] : "";

		code = option == '?' || option == ':'
		    ? complain(options, word, option == ':')
		    : take_option(args, option);
		at = optind;
	}
	free_options(options);
	args->names = argv + optind;
	args->n_names = (size_t)(argc - optind);
	return code;
}

static struct conf *
load_conf(const struct arguments *args, struct err *err)
{
	bool without_file = args->has_host && args->n_names == 0;
	char *path =
	    args->file != NULL ? mem_dup(args->file) : conf_default_path();
	struct conf *conf =
	    without_file ? conf_without_file() : conf_read(path, err);

	free(path);
	if (conf == NULL)
		return NULL;
	/* Only what is chosen must be complete. */
	if ((!without_file &&
		conf_choose(conf, args->names, args->n_names, args->all, err) ==
		    -1) ||
	    conf_finish(conf, args->overrides, args->n_overrides, err) == -1) {
		conf_free(conf);
		return NULL;
	}
	return conf;
}

static enum log_level
choose_level(const struct arguments *args)
{
	if (args->debug)
		return LOG_AT_DEBUG;
	if (args->verbose)
		return LOG_AT_VERBOSE;
	if (args->quiet)
		return LOG_AT_NOTHING;
	return isatty(STDERR_FILENO) ? LOG_AT_NOTICE : LOG_AT_WARNING;
}

/* The progress lines move the cursor. */
static bool
can_show_progress(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && term != NULL &&
	    strcmp(term, "dumb") != 0;
}

static int
fetch(const struct arguments *args, const struct conf *conf)
{
	struct fetch_options options = args->fetch;
	const struct screen_params look = {
	    .level = choose_level(args),
	    .accounts = conf->n,
	    .progress = !args->quiet && !args->debug && can_show_progress(),
	    .summaries =
		!args->quiet && (args->verbose || isatty(STDOUT_FILENO)),
	    .verbose = args->verbose || args->debug || isatty(STDERR_FILENO),
	    .is_plan = options.verb == FETCH_DRY_RUN,
	};
	struct screen *screen = screen_open(&look);
	const struct super_screen shown = {screen_show, screen_prompt, screen};
	const struct super_params params = {
	    .conf = conf,
	    .options = &options,
	    .level = look.level,
	    .jobs = args->jobs,
	    .screen = &shown,
	};
	int code;

	options.show_progress = look.progress;
	options.session.look_only = options.verb == FETCH_DRY_RUN;
	options.session.in_hurry = isatty(STDERR_FILENO) != 0;
	code = super_run(&params);
	screen_close(screen);
	return code;
}

static void
print_note(void *context, enum log_level level, const char *text)
{
	(void)context;
	(void)level;
	fprintf(stderr, "poplar: %s\n", text);
}

static int
run(const struct arguments *args)
{
	struct conf *conf;
	struct err err;
	int code = EX_OK;

	log_open(choose_level(args), print_note, NULL);
	conf = load_conf(args, &err);
	if (conf == NULL) {
		screen_error(&err);
		return err_exit_code(err.class);
	}
	/* Not sooner: the rc file may be one of /dev/fd. */
	mem_keep_private();
	if (!args->pretend)
		secret_read_descriptors(conf);
	closefrom(STDERR_FILENO + 1);
	if (args->pretend)
		conf_print(conf);
	else
		code = fetch(args, conf);
	conf_free(conf);
	return code;
}

/* Results that were lost are no success; a reader that has had enough of them
 * has closed its end. */
static int
check_output(int code)
{
	struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
	bool is_lost = fflush(stdout) == EOF || ferror(stdout) != 0;

	if (!is_lost ||
	    (poll(&output, 1, 0) == 1 && (output.revents & POLLERR) != 0))
		return code;
	fprintf(stderr, "poplar: standard output cannot be written\n");
	return code == EX_OK ? EX_IOERR : code;
}

/* Whoever started this may have left descriptors open, or closed 0 to 2,
 * where a mailbox must never be opened.  Those that hold a password are known
 * once the rc file is read: until then no command gets any. */
static void
tidy_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	file_keep_from(STDERR_FILENO + 1);
}

int
main(int argc, char *argv[])
{
	struct arguments args = {
	    .jobs = JOBS_DEFAULT,
	    .fetch = {.session = {.family = AF_UNSPEC}},
	};
	int code;

	tidy_descriptors();
	wait_open();
	code = parse_arguments(argc, argv, &args);
	if (code == -1)
		code = run(&args);
	free(args.overrides);
	return check_output(code);
}
