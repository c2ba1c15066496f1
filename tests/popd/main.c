/* SPDX-License-Identifier: ISC */
/* popd: the POP3 server of the tests. README says how to use it. */
#include <err.h>
#include <stdio.h>
#include <string.h>

#include "certs.h"
#include "demo.h"
#include "options.h"
#include "play.h"
#include "pop3.h"

static int
run_mailbox(int argc, char **argv)
{
	static struct options o;

	options_parse(&o, MODE_MAILBOX, argc, argv);
	return pop3_run(&o) ? 0 : 1;
}

static int
run_script(int argc, char **argv)
{
	static struct options o;

	options_parse(&o, MODE_SCRIPT, argc, argv);
	return play_run(&o) ? 0 : 1;
}

static const char *
only_operand(int argc, char **argv)
{
	if (argc != 2)
		errx(2, "%s: which directory?", argv[0]);
	return argv[1];
}

static int
run_cert(int argc, char **argv)
{
	certs_write(only_operand(argc, argv));
	return 0;
}

static int
run_demo(int argc, char **argv)
{
	demo_write(only_operand(argc, argv));
	return 0;
}

static int
run_help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	puts("usage: popd mailbox [option ...] DIR\n"
	     "       popd mailbox [option ...] --synthetic N:SIZE\n"
	     "       popd script [option ...] SCRIPT ...\n"
	     "       popd cert DIR\n"
	     "       popd demo DIR\n");
	options_usage();
	return 0;
}

static const struct {
	const char *name;
	int (*run)(int, char **);
} modes[] = {
    {"mailbox", run_mailbox},
    {"script", run_script},
    {"cert", run_cert},
    {"demo", run_demo},
    {"--help", run_help},
};

int
main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (argc > 1 && strcmp(argv[1], modes[i].name) == 0)
			return modes[i].run(argc - 1, argv + 1);
	errx(2, "mailbox, script, cert, demo or --help?");
}
