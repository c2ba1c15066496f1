/* SPDX-License-Identifier: ISC */
#include "run/netrc.h"

#include "base/mem.h"

#include "tap.h"

#define HOST "pop.example.org"
#define USER "joe"

/* NULL: none is found. */
static void
finds(const char *text, const char *expected, const char *name)
{
	char *got = netrc_password(text, strlen(text), HOST, USER);

	tap_is(got, expected, name);
	mem_free_secret(got);
}

static void
test_entries(void)
{
	finds("", NULL, "an empty file");
	finds("machine " HOST " login joe password sesame\n", "sesame",
	    "one line");
	finds("machine\n" HOST "\r\nlogin\n\tjoe\npassword\nsesame", "sesame",
	    "a word a line, without a last line end");
	finds("machine POP.example.ORG login joe password sesame", "sesame",
	    "hosts match in any case");
	finds(
	    "machine " HOST " login Joe password sesame", NULL, "users do not");
	finds("machine " HOST " password sesame login joe", "sesame",
	    "the password first");
	finds("machine other login joe password no\n"
	      "machine " HOST " login ann password no\n"
	      "machine " HOST " login joe password sesame\n"
	      "machine " HOST " login joe password no\n",
	    "sesame", "the first that names host and user");
	finds("machine pop.example.org.evil login joe password no", NULL,
	    "a longer name is another");
	finds("login joe password no", NULL, "no machine at all");
	finds("machine " HOST " login joe", NULL, "no password");
	finds("machine " HOST " login joe password", NULL, "a cut one");
	finds("machine", NULL, "a cut machine");
	finds("machine " HOST " login", NULL, "a cut login");
	finds("machine " HOST " login joe password machine", "machine",
	    "a keyword as password");
	finds("machine " HOST " login joe account password password sesame",
	    "sesame", "an account is passed over");
	finds("machine " HOST " port 995 login joe protocol pop3 password s",
	    "s", "unknown words are passed over");
}

static void
test_ranks(void)
{
	finds("machine " HOST " password any\n"
	      "machine " HOST " login joe password sesame\n",
	    "sesame", "the one that names the user before any's");
	finds("default password any\nmachine " HOST " password sesame",
	    "sesame", "the host before the default");
	finds("machine " HOST " login ann password no\n"
	      "default login joe password sesame\n",
	    "sesame", "the default for him");
	finds("default password any\ndefault login joe password sesame\n",
	    "sesame", "the default that names him");
	finds("default login anonymous password joe@", NULL,
	    "the default of FTP is not for him");
	finds("default password sesame", "sesame", "the default for all");
}

static void
test_words(void)
{
	finds("machine " HOST " login joe password \"a b\tc\"", "a b\tc",
	    "quotes");
	finds("machine " HOST " login \"joe\" password \"\"x", "",
	    "empty quotes");
	finds("machine " HOST " login joe password \"a\\\"b\\\\c\"", "a\"b\\c",
	    "escapes in quotes");
	finds("machine " HOST " login joe password a\\ b\\\\\"c", "a b\\\"c",
	    "and without");
	finds("machine " HOST " login joe password \"open", "open",
	    "a quote without its end");
	finds("machine " HOST " login joe password x\\", "x\\",
	    "a backslash at the end");
	finds("machine " HOST " login joe password #1%$\xc3\xbc\xff",
	    "#1%$\xc3\xbc\xff", "any bytes");
	finds("# machine " HOST " login joe password no\n"
	      "machine " HOST " # his\nlogin joe #\n password sesame",
	    "sesame", "comments");
}

static void
test_macros(void)
{
	finds("machine ftp login joe\nmacdef init\nmachine " HOST
	      " login joe password no\n\nmachine " HOST
	      " login joe password sesame",
	    "sesame", "a macro ends with an empty line");
	finds("macdef init\r\nmachine " HOST " password no\r\n\r\n"
	      "machine " HOST " password sesame",
	    "sesame", "also with CRLF");
	finds(
	    "macdef x\nmachine " HOST " password no", NULL, "or with the file");
	finds("macdef", NULL, "a macro without a name");
}

int
main(void)
{
	test_entries();
	test_ranks();
	test_words();
	test_macros();
	return tap_done();
}
