/* SPDX-License-Identifier: ISC */
/* The rc file: grammar, keywords, defaults, and what follows from them. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wait.h"
#include "conf/conf.h"
#include "conf/keyword.h"
#include "conf/lex.h"

#include "tap.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))
#define BEGIN "defaults\nhost h\nuser u\n"
#define ACCOUNT "account a\nhost h\nuser u\n"

static char dir[] = "/tmp/poplar-conf.XXXXXX";

static char *
path_of(const char *name)
{
	return mem_printf("%s/%s", dir, name);
}

static void
put_n(const char *name, const char *text, size_t n, mode_t mode)
{
	char *path = path_of(name);
	int fd;

	/* One of mode 400 could not be written to. */
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd == -1 || file_write(fd, text, n) == -1 || fchmod(fd, mode) == -1)
		abort();
	close(fd);
	free(path);
}

static void
put(const char *name, const char *text)
{
	put_n(name, text, strlen(text), 0600);
}

/* Reads DIR/rc; the directory is cut off messages. */
static struct conf *
read_rc(struct err *err)
{
	char *path = path_of("rc"), *at;
	struct conf *conf;

	*err = (struct err){0};
	conf = conf_read(path, err);
	while ((at = strstr(err->text, dir)) != NULL)
		memmove(
		    at, at + strlen(dir) + 1, strlen(at + strlen(dir) + 1) + 1);
	free(path);
	return conf;
}

static struct conf *
read_text(const char *text, struct err *err)
{
	put("rc", text);
	return read_rc(err);
}

static struct conf *
must_read(const char *text)
{
	struct err err;
	struct conf *conf = read_text(text, &err);

	if (conf == NULL) {
		tap_ok(false, "reads: %s", err.text);
		exit(tap_done());
	}
	return conf;
}

static struct conf *
must_finish(const char *text)
{
	struct conf *conf = must_read(text);
	struct err err;

	if (conf_finish(conf, NULL, 0, &err) == -1) {
		tap_ok(false, "finishes: %s", err.text);
		exit(tap_done());
	}
	return conf;
}

/* A mistake: the message, and the hint unless it is NULL. */
static void
refused(const char *text, const char *message, const char *hint)
{
	struct err err;
	struct conf *conf = read_text(text, &err);

	tap_is(conf == NULL ? err.text : "accepted", message, message);
	if (conf == NULL && err.class != ERR_CONFIG)
		tap_ok(false, "class of: %s", message);
	if (conf == NULL && hint != NULL)
		tap_is(err.hint, hint, hint);
	conf_free(conf);
}

/* The line "keyword ..." of what conf_format says about the i-th account. */
static char *
printed(const struct conf *conf, size_t i, const char *keyword)
{
	struct conf one = {.accounts = &conf->accounts[i], .n = 1};
	char *head = mem_printf("\n%s ", keyword), *at, *value = NULL;
	struct buf text = {0};

	conf_format(&one, &text);
	at = strstr(buf_string(&text), head);
	if (at != NULL) {
		at += strlen(head);
		value = mem_printf("%.*s", (int)strcspn(at, "\n"), at);
	}
	buf_free(&text);
	free(head);
	return value;
}

static void
prints(const struct conf *conf, size_t i, const char *keyword,
    const char *expected)
{
	char *value = printed(conf, i, keyword);
	char *name = mem_printf(
	    "%s is %s", keyword, expected != NULL ? expected : "unset");

	tap_is(value, expected, name);
	free(name);
	free(value);
}

static void
accepted(const char *line, const char *keyword, const char *expected)
{
	char *text = mem_printf("account a\n%s\n", line), *value;
	struct err err;
	struct conf *conf = read_text(text, &err);

	value = conf != NULL ? printed(conf, 0, keyword) : mem_dup(err.text);
	tap_is(value, expected, line);
	conf_free(conf);
	free(value);
	free(text);
}

static void
rejected(const char *line, const char *why)
{
	char *text = mem_printf("account a\n%s\n", line);
	struct err err;
	struct conf *conf = read_text(text, &err);

	tap_ok(conf == NULL && strstr(err.text, why) != NULL &&
		strncmp(err.text, "rc:2: ", 6) == 0,
	    "%.60s: %s", line, why);
	if (conf != NULL || strstr(err.text, why) == NULL)
		printf("# got: %s\n", conf != NULL ? "accepted" : err.text);
	conf_free(conf);
	free(text);
}

static void
test_defaults(void)
{
	static const char *const expected[][2] = {{"port", NULL},
	    {"timeout", "180"}, {"connect_timeout", "30"},
	    {"session_timeout", "off"}, {"mda_timeout", "300"},
	    {"pipelining", "auto"}, {"auth", "on"}, {"password", NULL},
	    {"passwordeval", NULL}, {"tls", "on"}, {"tls_starttls", "auto"},
	    {"tls_trust_file", "system"}, {"tls_fingerprint", NULL},
	    {"tls_certcheck", "on"}, {"tls_priorities", NULL},
	    {"tls_host_override", NULL},
	    {"delivery", "maildir /home/x/Maildir"}, {"uidls_file", NULL},
	    {"require_state", "off"}, {"only_new", "on"}, {"keep", "on"},
	    {"killsize", "off"}, {"skipsize", "off"}, {"max_messages", "off"},
	    {"max_bytes", "off"}, {"order", "oldest"}};
	struct conf *conf = must_read(ACCOUNT);
	const struct account *account = conf->accounts[0];

	for (size_t i = 0; i < N_OF(expected); i++)
		prints(conf, 0, expected[i][0], expected[i][1]);
	tap_ok(account->timeout == 180 && account->session_timeout == 0 &&
		account->killsize == CONF_SIZE_OFF && account->port == NULL &&
		account->tls == CONF_ON && account->keep == CONF_KEEP_ON &&
		account->delivery.kind == DELIVER_MAILDIR &&
		!account->newest_first && !account->tls_was_said,
	    "the fields hold the defaults");
	conf_free(conf);
}

static void
test_table(void)
{
	size_t n;
	const struct keyword *table = keyword_table(&n);

	for (size_t i = 0; i < n; i++) {
		struct account account = {0};
		const char *why = NULL;

		if (table[i].type == NULL || table[i].initial == NULL)
			continue;
		tap_ok(table[i].type->parse(
			   &table[i], table[i].initial, &account, &why),
		    "the default of %s is valid", table[i].name);
		if (table[i].type->clear != NULL)
			table[i].type->clear(
			    (char *)&account + table[i].offset);
	}
	tap_ok(keyword_find("Tls_StartTLS") == keyword_find("tls_starttls") &&
		keyword_find("tls") != NULL && keyword_find("tlss") == NULL,
	    "keywords are found whatever their case");
	tap_is(keyword_nearest("DELIVRY"), "delivery", "nearest to DELIVRY");
	tap_is(keyword_nearest("acount"), "account", "nearest to acount");
	tap_ok(keyword_nearest("xyzzyxyzzy") == NULL, "nearest to nothing");
}

static void
test_grammar(void)
{
	static const char text[] = "\xef\xbb\xbf# first\r\n\r\n"
				   "  \tACCOUNT  one two \t\r\n"
				   "\tHoSt\t \th.example  \r\n"
				   "   # user no\n"
				   "user \"  q # x \"\n"
				   "passwordeval a \"b\" # c\n"
				   "tls_priorities \"half\n"
				   "uidls_file \"\"x\"\"";
	struct conf *conf = must_read(text);
	const struct account *account = conf->accounts[0];

	tap_is(account->name, "one two", "a name with a blank");
	tap_is(account->host, "h.example", "blanks are trimmed");
	tap_is(account->user, "  q # x ", "blanks within quotes stay");
	tap_is(account->passwordeval, "a \"b\" # c", "the rest is raw");
	tap_is(account->tls_priorities, "\"half", "a lone quote stays");
	tap_is(account->uidls_file, "\"x\"", "one pair of quotes is removed");
	tap_ok(account->line == 3, "the line of an account");
	conf_free(conf);
}

static void
test_long_line(void)
{
	size_t n = 1 << 20;
	char *value = mem_zero(n + 1, 1), *text;
	struct conf *conf;

	memset(value, 'x', n);
	text = mem_printf("account a\npasswordeval %s\nhost h\n", value);
	conf = must_read(text);
	tap_ok(strcmp(conf->accounts[0]->passwordeval, value) == 0 &&
		strcmp(conf->accounts[0]->host, "h") == 0,
	    "a line of 1 MiB");
	conf_free(conf);
	free(text);
	free(value);
}

static void
test_errors(void)
{
	struct err err;

	refused("account a\n\n#\ntls_startls on\n",
	    "rc:4: tls_startls: unknown keyword", "did you mean tls_starttls");
	refused("account a\npasword hunter2\n",
	    "rc:2: pasword: unknown keyword", "did you mean password");
	refused("account a\npassword=hunter2\n",
	    "rc:2: password: unknown keyword",
	    "a blank separates a keyword from its argument");
	refused("account a\nxyzzyxyzzyxyzzy\n",
	    "rc:2: xyzzyxyzzyxyzzy: unknown keyword", "");
	refused(
	    "account a\n\033[1m x\n", "rc:2: \\x1b[1m: unknown keyword", NULL);
	refused("account a\nport 0\nport 0\n",
	    "rc:2: port: not a port (1 to 65535) or a service: 0", "");
	refused("account a\nkeep \033x\n",
	    "rc:2: keep: not on, off or a time such as 30d: \\x1bx", NULL);
	refused("host h\n",
	    "rc:1: host: the first line must be defaults or account", NULL);
	refused("bogus h\n", "rc:1: bogus: unknown keyword", NULL);
	refused("defaults x\n", "rc:1: defaults: takes no argument: x", NULL);
	refused("defaults\n", "rc: no account in it", NULL);
	refused("", "rc: no account in it", NULL);
	refused("account a\npassword hunter2\rx\n",
	    "rc:2: password: a line end within the argument", "");
	put_n("rc", "account a\nhost \0h\n", 18, 0600);
	tap_ok(read_rc(&err) == NULL, "a NUL is refused");
	tap_is(err.text, "rc:2: a NUL character", "a NUL has a line");
}

static void
test_files(void)
{
	char *usual, *path = path_of("none");
	struct err err;
	struct conf *conf;

	conf = conf_read(path, &err);
	tap_ok(conf == NULL && err.class == ERR_CONFIG &&
		strstr(err.text, "none: No such file") != NULL,
	    "a missing file: %s", err.text);
	tap_ok(err.hint[0] == '\0', "no hint for a named file");
	free(path);
	conf = conf_read(dir, &err);
	tap_ok(conf == NULL && err.class == ERR_CONFIG, "a directory: %s",
	    err.text);
	conf = conf_read("/dev/zero", &err);
	tap_ok(conf == NULL, "an endless file: %s", err.text);

	setenv("HOME", dir, 1);
	usual = conf_default_path();
	path = path_of(".poplarrc");
	tap_is(usual, path, "the default is ~/.poplarrc");
	conf = conf_read(usual, &err);
	tap_ok(conf == NULL && strstr(err.hint, "poplarrc(5)") != NULL,
	    "a hint where to begin");
	free(usual);
	free(path);
	path = path_of(".config");
	mkdir(path, 0700);
	free(path);
	path = path_of(".config/poplar");
	mkdir(path, 0700);
	free(path);
	path = path_of(".config/poplar/poplarrc");
	put(".config/poplar/poplarrc", ACCOUNT);
	usual = conf_default_path();
	tap_is(usual, path, "before it comes ~/.config/poplar/poplarrc");
	free(usual);
	setenv("XDG_CONFIG_HOME", "/nowhere", 1);
	usual = conf_default_path();
	tap_ok(strstr(usual, "/.poplarrc") != NULL, "XDG_CONFIG_HOME counts");
	free(usual);
	setenv("XDG_CONFIG_HOME", ".config", 1);
	usual = conf_default_path();
	tap_is(usual, path, "a relative XDG_CONFIG_HOME does not");
	free(usual);
	free(path);
	unsetenv("XDG_CONFIG_HOME");
	setenv("HOME", "/home/x", 1);
}

static void
test_values(void)
{
	static const char sha1[] =
	    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33";
	char *line;

	accepted("tls", "tls", "on");
	accepted("tls OFF", "tls", "off");
	accepted("tls_starttls", "tls_starttls", "on");
	accepted("tls_starttls Auto", "tls_starttls", "auto");
	accepted("pipelining", "pipelining", "on");
	accepted("keep", "keep", "on");
	accepted("keep off", "keep", "off");
	accepted("keep 90061s", "keep", "1d 1h 1m 1s");
	accepted("keep 1d 12h", "keep", "1d 12h");
	accepted("auth", "auth", "on");
	accepted("auth APOP", "auth", "apop");
	accepted("auth user", "auth", "user");
	accepted("auth Plain", "auth", "plain");
	accepted("auth OAUTHBEARER", "auth", "oauthbearer");
	accepted("auth Scram-SHA-256-Plus", "auth", "scram-sha-256-plus");
	accepted("ntlmdomain WORKGROUP", "ntlmdomain", "WORKGROUP");
	accepted("timeout off", "timeout", "off");
	accepted("timeout 0x10", "timeout", "16");
	accepted("port 0x6e", "port", "110");
	accepted("port 65535", "port", "65535");
	accepted("port pop3s", "port", "pop3s");
	accepted("killsize 10M", "killsize", "10M");
	accepted("killsize 0", "killsize", "0");
	accepted("killsize 1000k", "killsize", "1000k");
	accepted("skipsize 0x10K", "skipsize", "16k");
	accepted("skipsize off", "skipsize", "off");
	accepted("max_bytes 1G", "max_bytes", "1G");
	accepted("max_messages 100", "max_messages", "100");
	accepted("order newest", "order", "newest");
	accepted("delivery mbox ~/m x", "delivery", "mbox /home/x/m x");
	accepted("delivery MAILDIR \"~/a b \"", "delivery",
	    "maildir \"/home/x/a b \"");
	accepted(
	    "delivery mda ~/bin/x -f '%F'", "delivery", "mda ~/bin/x -f '%F'");
	accepted("tls_trust_file ~/ca.pem", "tls_trust_file", "/home/x/ca.pem");
	accepted("tls_trust_file System", "tls_trust_file", "system");
	accepted("uidls_file ~/x", "uidls_file", "/home/x/x");
	accepted("passwordeval ~/x", "passwordeval", "~/x");
	line = mem_printf("tls_fingerprint %s", sha1);
	accepted(line, "tls_fingerprint", sha1);
	free(line);
	accepted("tls_fingerprint 00112233445566778899aabbccddeeff00112233",
	    "tls_fingerprint", sha1);
	accepted("tls_fingerprint 00 11 22 33 44 55 66 77 88 99 aa bb cc dd "
		 "ee ff 00 11 22 33",
	    "tls_fingerprint", sha1);
	accepted("tls_fingerprint "
		 "SHA256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+A=",
	    "tls_fingerprint",
	    "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+A=");
	accepted("tls_fingerprint", "tls_fingerprint", NULL);
	accepted("tls_compat tls1.0, SHA1", "tls_compat", "tls1.0 sha1");
	accepted("tls_compat small-dh legacy-renegotiation", "tls_compat",
	    "small-dh legacy-renegotiation");
	accepted("tls_compat", "tls_compat", NULL);
	accepted("host", "host", NULL);
	accepted("host ::1", "host", "::1");
	accepted("host \xe4\xbe\x8b.jp", "host", "\xe4\xbe\x8b.jp");
	accepted("user", "user", NULL);
}

static void
test_bad_values(void)
{
	static const char *const lines[][2] = {
	    {"tls auto", "tls: not on or off: auto"},
	    {"pipelining 1", "not on, off or auto"},
	    {"timeout 0", "not off or a number of seconds"},
	    {"timeout", "not off or a number of seconds"},
	    {"timeout 5m", "not off or a number of seconds"},
	    {"timeout -1", "not off or a number of seconds"},
	    {"timeout 0x", "not off or a number of seconds"},
	    {"timeout 99999999999", "not off or a number of seconds"},
	    {"port 65536", "not a port"}, {"port", "not a port"},
	    {"port po_p", "not a port"}, {"port 0x10000", "not a port"},
	    {"port -", "not a port"}, {"killsize 1X", "not off or a size"},
	    {"killsize", "not off or a size"},
	    {"killsize 99999999999999999999", "not off or a size"},
	    {"max_bytes 0", "above 0"}, {"max_messages 0", "above 0"},
	    {"keep 0d", "a time such as"}, {"keep 30", "a time such as"},
	    {"order up", "oldest or newest"},
	    {"auth off", "not on or a method"},
	    {"tls_compat tls1.0 ssl3", "not tls1.0, legacy-"},
	    {"tls_compat tls1.0|sha1", "not tls1.0, legacy-"},
	    {"tls_key_file pkcs11:token=t?pin-value=1234", "a file of its own"},
	    {"tls_key_file pkcs11:token=t;pPin- Value=1", "a file of its own"},
	    {"source_ip a", "not an IPv4 or IPv6 address"},
	    {"source_ip 1.2.3.4%eth0", "not an IPv4 or IPv6 address"},
	    {"socket a\rb", "a line end"}, {"tunnel a\rb", "a line end"},
	    {"host a b", "not a host name"}, {"host a/b", "not a host name"},
	    {"host pop.example.org:995", "the port has a keyword of its own"},
	    {"user a\rb", "a line end"}, {"password a\rb", "a line end"},
	    {"delivery ~/Maildir", "not maildir, mbox or mda"},
	    {"delivery", "not maildir, mbox or mda"},
	    {"delivery maildir", "is missing"},
	    {"delivery mda \"\"", "is missing"},
	    {"delivery maildir,~/x", "not maildir, mbox or mda"},
	    {"delivery exchange ~/x", "no delivery to an Exchange"},
	    {"tls_fingerprint sha256/AAAA=", "the base64 of a SHA-256"},
	    {"tls_fingerprint "
	     "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=",
		"the base64 of a SHA-256"},
	    {"tls_fingerprint 00112233445566778899aabbccddeeff", "MD5"},
	    {"tls_fingerprint 00:11", "not a SHA-256 or SHA-1"},
	    {"tls_fingerprint 001122334455667788x9aabbccddeeff00112233",
		"not a SHA-256 or SHA-1"},
	    {"tls_fingerprint 0:0112233445566778899aabbccddeeff00112233",
		"not a SHA-256 or SHA-1"}};

	for (size_t i = 0; i < N_OF(lines); i++)
		rejected(lines[i][0], lines[i][1]);
}

static void
count_note(void *context, enum log_level level, const char *text)
{
	(void)level;
	*(int *)context += strstr(text, "has no effect") != NULL;
}

static void
test_later(void)
{
	static const char *const later[] = {"filter f", "received_header",
	    "received_header on", "on_new x", "alert_after 3"};
	static const char *const harmless =
	    ACCOUNT "proxy_host\nproxy_port\n"
		    "proxy_port 1080\ntls_crl_file\ntls_compat\n"
		    "tls_cert_file\ntls_key_file\n"
		    "filter\nreceived_header OFF\non_new\n"
		    "alert_after 1\n";
	int notes = 0;
	struct conf *conf;
	struct err err;

	for (size_t i = 0; i < N_OF(later); i++)
		rejected(later[i], "not supported yet");
	read_text("account a\ntls_key_file pkcs11:pin-value=1234\n", &err);
	tap_ok(strstr(err.text, "1234") == NULL, "a PIN is not shown");
	read_text("account a\npasswordfd sesame\n", &err);
	tap_ok(strstr(err.text, "sesame") == NULL,
	    "nor what may be a password in the wrong place");
	conf = read_text(harmless, &err);
	tap_is(conf != NULL ? "" : err.text, "", "their defaults are accepted");
	conf_free(conf);
	log_open(LOG_AT_VERBOSE, count_note, &notes);
	conf_free(
	    must_read(ACCOUNT "tls_min_dh_prime_bits 512\ntls_force_sslv3\n"));
	tap_ok(notes == 2, "what is ignored is noted");
	log_open(LOG_AT_WARNING, NULL, NULL);
}

static void
test_sections(void)
{
	struct conf *conf;

	conf = must_read("defaults\nport 1\ntimeout 5\ntls off\n"
			 "account a\nhost ha\nkeep off\n"
			 "defaults\ntimeout 6\n"
			 "account b\nhost hb\nport 2\nkeep 2d\nuser ub\n"
			 "account c : b, \"a\"\nskipsize 1k\n"
			 "defaults\nskipsize 9k\n"
			 "account d:c\nkillsize 2k\n");
	prints(conf, 0, "timeout", "5");
	prints(conf, 1, "timeout", "6");
	prints(conf, 2, "timeout", "6");
	prints(conf, 2, "host", "ha");
	prints(conf, 2, "port", "2");
	prints(conf, 2, "keep", "off");
	prints(conf, 2, "user", "ub");
	prints(conf, 3, "host", "ha");
	prints(conf, 3, "port", "2");
	prints(conf, 3, "skipsize", "1k");
	prints(conf, 3, "killsize", "2k");
	prints(conf, 1, "skipsize", "off");
	tap_ok(conf->accounts[0]->tls_was_said, "tls was said in defaults");
	conf_free(conf);
}

static void
test_section_errors(void)
{
	refused("account\n", "rc:1: account: a name is missing", NULL);
	refused("account : a\n", "rc:1: account: a name is missing", NULL);
	refused("account a,b\n",
	    "rc:1: account: a name holds no comma and no control character: "
	    "a,b",
	    NULL);
	refused("account a\naccount a\n",
	    "rc:2: account: there is an account of this name already: a", NULL);
	refused("account a : b\naccount b\n",
	    "rc:1: account: no such account above: b", NULL);
	refused("account a\naccount b : a,\n",
	    "rc:2: account: a parent's name is missing", NULL);
	refused(
	    "account a : a\n", "rc:1: account: no such account above: a", NULL);
}

#define PIN(digit)                                                        \
	digit digit digit digit digit digit digit digit digit digit digit \
	    digit digit digit digit digit digit digit digit digit

static void
test_fingerprints(void)
{
	struct conf *conf = must_read("defaults\ntls_fingerprint " PIN(
	    "00") "\n"
		  "account a\n"
		  "account b : a\ntls_fingerprint " PIN(
		      "11") "\n"
			    "tls_fingerprint " PIN(
				"22") "\n"
				      "account c : b\ntls_fingerprint " PIN(
					  "33") "\n"
						"account d : b\n"
						"account e : "
						"b\ntls_fingerprint\n");
	static const size_t expected[] = {1, 2, 1, 2, 0};
	const struct conf_override pins[] = {{"tls_fingerprint", PIN("44")},
	    {"tls_fingerprint", PIN("55")}, {"host", "h"}, {"user", "u"}};
	struct err err;

	for (size_t i = 0; i < N_OF(expected); i++)
		tap_ok(conf->accounts[i]->tls_fingerprint.n == expected[i],
		    "account %zu has %zu of %zu pins", i,
		    conf->accounts[i]->tls_fingerprint.n, expected[i]);
	tap_ok(conf_finish(conf, pins, N_OF(pins), &err) == 0 &&
		conf->accounts[1]->tls_fingerprint.n == 2 &&
		strncmp(conf->accounts[1]->tls_fingerprint.items[0], "44", 2) ==
		    0,
	    "the command line starts a new list");
	conf_free(conf);
}

static void
test_eval(void)
{
	struct conf *conf = must_read("eval echo account a\n"
				      "EVAL printf 'host h\\r\\nuser no\\n'\n"
				      "eval echo '# nothing'\n"
				      "eval printf 'user u'\n");

	tap_is(conf->accounts[0]->host, "h", "the first line of the output");
	tap_is(conf->accounts[0]->user, "u", "an output without a line end");
	conf_free(conf);
	refused("account a\neval echo no >&2; exit 3\n",
	    "rc:2: eval: the command exited with 3: no", NULL);
	refused("account a\neval kill -9 $$\n",
	    "rc:2: eval: the command killed by SIGKILL", NULL);
	refused("account a\neval true\n",
	    "rc:2: eval: the command said nothing", NULL);
	refused("account a\neval\n", "rc:2: eval: a command is missing", NULL);
	refused("account a\neval echo eval echo host h\n",
	    "rc:2: eval: not in what another eval command said", NULL);
	refused("account a\n\neval echo hosst h\n",
	    "rc:3: eval: what the command printed begins with no keyword",
	    "a command that prints the password alone is for passwordeval");
	refused("account a\neval printf 'user \\000'\n",
	    "rc:2: eval: a NUL in the command's output", NULL);
	refused("account a\neval tr '\\0' x </dev/zero | head -c 70000\n",
	    "rc:2: eval: the command's line is too long", NULL);
}

static void
test_include(void)
{
	char *sub = path_of("su[b");
	struct conf *conf;

	mkdir(sub, 0700);
	put("su[b/1.rc", "keep off\naccount b\nhost hb\ninclude 2\n");
	put("su[b/2", "skipsize 2k\n");
	put("su[b/3.rc", "killsize 3k\n");
	conf = must_read("account a\nhost ha\ninclude su[[]b/*.rc\n"
			 "port 7\ninclude none/*.rc\ninclude su[[]b/x*\n");
	tap_ok(conf->n == 2, "an included file can define accounts");
	prints(conf, 0, "keep", "off");
	prints(conf, 0, "port", "7");
	prints(conf, 0, "killsize", "3k");
	prints(conf, 1, "skipsize", "2k");
	prints(conf, 1, "killsize", "off");
	tap_ok(conf->accounts[1]->line == 2 &&
		strstr(conf->accounts[1]->file, "su[b/1.rc") != NULL,
	    "its place is that of its own file");
	conf_free(conf);
	setenv("HOME", sub, 1);
	conf = must_read("account a\ninclude ~/2\n");
	prints(conf, 0, "skipsize", "2k");
	conf_free(conf);
	setenv("HOME", "/home/x", 1);
	free(sub);
	put("bad", "keep off\nkepe on\n");
	refused("account a\n\ninclude bad\n", "bad:2: kepe: unknown keyword",
	    "did you mean keep");
	refused("account a\ninclude none\n",
	    "rc:2: include: no such file: none", NULL);
	refused("include\n", "rc:1: include: a file is missing", NULL);
	put("bad", "host h\n");
	refused("include bad\n",
	    "bad:1: host: the first line must be defaults or account", NULL);
	put("loop", "include r[c]\n");
	refused("account a\ninclude loop\n",
	    "loop:1: include: a file that includes itself", NULL);
}

static void
test_include_depth(void)
{
	char name[16], text[32];
	struct err err;
	struct conf *conf;

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		snprintf(text, sizeof(text), i == 15 ? "\n" : "include d%d\n",
		    i + 1);
		put(name, text);
	}
	conf = read_text(ACCOUNT "include d0\n", &err);
	tap_ok(conf != NULL, "16 levels of includes");
	conf_free(conf);
	put("d15", "include d16\n");
	put("d16", "\n");
	refused(
	    ACCOUNT "include d0\n", "d15:1: include: nested too deeply", NULL);
}

static void
test_permissions(void)
{
	static const char with[] = "account a\npassword x y\n";
	static const mode_t bad[] = {0640, 0604, 0620, 0602, 0610};
	char *hint = mem_printf("chmod 600 %s/rc", dir);
	struct conf *conf;
	struct err err;

	for (size_t i = 0; i < N_OF(bad); i++) {
		put_n("rc", with, strlen(with), bad[i]);
		conf = read_rc(&err);
		tap_ok(conf == NULL && err.class == ERR_CONFIG &&
			strcmp(err.hint, hint) == 0 &&
			strstr(err.text, "x y") == NULL,
		    "mode %o: %s", (unsigned int)bad[i], err.text);
		conf_free(conf);
	}
	put_n("rc", with, strlen(with), 0400);
	conf = read_rc(&err);
	tap_ok(conf != NULL && strcmp(conf->accounts[0]->password, "x y") == 0,
	    "mode 400");
	conf_free(conf);
	free(hint);
	put_n("rc", "account a\npassword\n", 19, 0644);
	conf = read_rc(&err);
	tap_ok(conf != NULL, "mode 644 without a password in it");
	conf_free(conf);
	put_n("rc", "account a\neval echo password x\n", 31, 0644);
	conf = read_rc(&err);
	tap_ok(conf != NULL, "mode 644 with the password elsewhere");
	conf_free(conf);
	put_n("secret", "password x\n", 11, 0644);
	put_n("rc", "account a\ninclude secret\n", 25, 0600);
	conf = read_rc(&err);
	tap_ok(conf == NULL && strncmp(err.text, "secret:1: ", 10) == 0,
	    "an included file on its own: %s", err.text);
	put_n("secret", "password x\n", 11, 0600);
	put_n("rc", "account a\ninclude secret\n", 25, 0644);
	conf = read_rc(&err);
	tap_ok(conf != NULL, "only the included file is private");
	conf_free(conf);
	if (geteuid() != 0)
		return;
	put_n("rc", with, strlen(with), 0600);
	hint = path_of("rc");
	if (chown(hint, 12345, (gid_t)-1) == 0)
		tap_ok(read_rc(&err) == NULL &&
			strncmp(err.hint, "chown 0 ", 8) == 0,
		    "somebody else's file: %s", err.text);
	unlink(hint);
	free(hint);
}

static void
test_stdin(void)
{
	char *path = path_of("rc");
	struct conf *conf;
	struct err err;
	int fd;

	put_n("rc", "account a\npassword x\nbad\n", 21, 0644);
	fd = open(path, O_RDONLY);
	dup2(fd, STDIN_FILENO);
	close(fd);
	conf = conf_read("-", &err);
	tap_ok(conf != NULL, "standard input is exempt");
	conf_free(conf);
	conf = conf_read("-", &err);
	tap_is(err.text, "-: no account in it", "standard input has a name");
	free(path);
}

static void
test_ports(void)
{
	static const struct {
		const char *said, *port, *starttls;
	} cases[] = {
	    {"", "995", "off"},
	    {"tls on", "995", "off"},
	    {"tls on\ntls_starttls", "110", "on"},
	    {"tls_starttls off", "995", "off"},
	    {"port 110", "110", "on"},
	    {"port pop3", "110", "on"},
	    {"port POP3S", "995", "off"},
	    {"port pop-3", "110", "on"},
	    {"port 1110", "1110", "off"},
	    {"port kpop", "kpop", "off"},
	    {"port 110\ntls_starttls off", "110", "off"},
	    {"port 995\ntls_starttls on", "995", "on"},
	    {"tls off", "110", "off"},
	    {"tls off\nport 995", "995", "off"},
	    {"tls off\ntls_starttls on", "110", "off"},
	};

	for (size_t i = 0; i < N_OF(cases); i++) {
		char *text = mem_printf(ACCOUNT "%s\n", cases[i].said);
		struct conf *conf = must_finish(text);

		prints(conf, 0, "port", cases[i].port);
		prints(conf, 0, "tls_starttls", cases[i].starttls);
		conf_free(conf);
		free(text);
	}
}

static void
state_is(const char *text, const char *path)
{
	struct conf *conf = must_finish(text);

	tap_is(conf->accounts[0]->uidls_file, path, path);
	conf_free(conf);
}

static void
test_state_path(void)
{
	char user[400], text[1024], path[1024];

	state_is(ACCOUNT, "/home/x/.local/state/poplar/u_at_h");
	state_is(ACCOUNT "port 110", "/home/x/.local/state/poplar/u_at_h");
	state_is(
	    ACCOUNT "port 1110", "/home/x/.local/state/poplar/u_at_h:1110");
	setenv("XDG_STATE_HOME", "/s", 1);
	state_is(ACCOUNT, "/s/poplar/u_at_h");
	state_is("account a\nhost ::1\nuser ../a/b %\xa5@Z+_-\n",
	    "/s/poplar/%2E.%2Fa%2Fb%20%25%A5@Z+_-_at_%3A%3A1");
	state_is("account x y\nhost h\nuser u\nuidls_file ~/%A%%U.%u%H%\n",
	    "/home/x/x%20y%u.%uh%");
	state_is(ACCOUNT "uidls_file /f\nport 1110\n", "/f");
	memset(user, 'a', 201);
	user[200] = '\0';
	snprintf(text, sizeof(text), "account a\nhost h\nuser %s\n", user);
	snprintf(path, sizeof(path), "/s/poplar/%s_at_h", user);
	state_is(text, path);
	memset(user, 'a', 201);
	user[201] = '\0';
	snprintf(text, sizeof(text), "account a\nhost h\nuser %s\n", user);
	state_is(text,
	    "/s/poplar/"
	    "a92efd82109373e58f9a2056dee01e807e216ce6075f7051207c0a9f7d666e50"
	    "_at_h");
	user[190] = '\0';
	snprintf(
	    text, sizeof(text), "account a\nhost %s\nuser %s\n", user, user);
	{
		struct conf *conf = must_finish(text);

		tap_ok(strlen(conf->accounts[0]->uidls_file) ==
			strlen("/s/poplar/_at_") + 128,
		    "two long pieces still make a file name");
		conf_free(conf);
	}
	unsetenv("XDG_STATE_HOME");
}

static void
finish_fails(const char *text, const struct conf_override *override,
    const char *message, enum err_class class)
{
	struct conf *conf = must_read(text);
	struct err err = {0};
	int status = conf_finish(conf, override, override != NULL, &err);
	char *at = strstr(err.text, dir);

	tap_is(status == -1 ? at != NULL ? at + strlen(dir) + 1 : err.text
			    : "accepted",
	    message, message);
	tap_ok(err.class == class, "its class");
	conf_free(conf);
}

static void
test_finish(void)
{
	const struct conf_override empty = {"host", ""};
	struct conf *conf;
	struct err err;

	finish_fails("\naccount a\nuser u\n", NULL,
	    "rc:2: account a: a host is missing", ERR_CONFIG);
	finish_fails("account a\nhost h\n", NULL,
	    "rc:1: account a: a user is missing", ERR_CONFIG);
	finish_fails(
	    ACCOUNT, &empty, "rc:1: account a: a host is missing", ERR_CONFIG);
	finish_fails(ACCOUNT "tls_trust_file\n", NULL,
	    "rc:1: account a: an empty tls_trust_file trusts nobody, and there "
	    "is no tls_fingerprint",
	    ERR_CONFIG);
	conf = must_finish(
	    ACCOUNT "tls_trust_file\ntls_fingerprint " PIN("00") "\n");
	tap_ok(conf->accounts[0]->tls_trust_file == NULL,
	    "an empty tls_trust_file with a pin");
	conf_free(conf);
	finish_fails(ACCOUNT "tls_key_file f\n", NULL,
	    "rc:1: account a: there is a tls_key_file, but no tls_cert_file",
	    ERR_CONFIG);
	conf = must_finish(ACCOUNT "tls_cert_file ~/f\n");
	prints(conf, 0, "tls_key_file", "/home/x/f");
	conf_free(conf);
	conf = must_finish(ACCOUNT "tls_cert_file pkcs11:object=a%20b\n"
				   "tls_key_file ~/k\n");
	prints(conf, 0, "tls_cert_file", "pkcs11:object=a%20b");
	prints(conf, 0, "tls_key_file", "/home/x/k");
	conf_free(conf);
	finish_fails(ACCOUNT "socket /s\ntunnel t\n", NULL,
	    "rc:1: account a: socket and tunnel are two ways to one server",
	    ERR_CONFIG);
	finish_fails("account a\nuser u\ntunnel t\n", NULL,
	    "rc:1: account a: without a host nobody knows which name the "
	    "certificate should have",
	    ERR_CONFIG);
	conf = must_finish("account a/b\nuser u\ntunnel t\ntls off\n");
	tap_is(conf->accounts[0]->server, "a/b", "without host: the account");
	prints(conf, 0, "uidls_file", "/home/x/.local/state/poplar/a%2Fb");
	conf_free(conf);
	conf = must_finish("account a\nuser u\nhost h\nsocket ~/s\n");
	tap_is(conf->accounts[0]->server, "h", "with one: the host");
	prints(conf, 0, "socket", "/home/x/s");
	prints(conf, 0, "uidls_file", "/home/x/.local/state/poplar/u_at_h");
	conf_free(conf);
	conf_free(must_finish(ACCOUNT "source_ip fe80::1%eth0\n"));
	conf_free(must_finish(ACCOUNT "tls_trust_file\ntls_certcheck off\n"));
	conf_free(must_finish(ACCOUNT "tls_trust_file\ntls off\n"));
	conf_free(
	    must_finish(ACCOUNT "tls off\ntls_fingerprint " PIN("00") "\n"));
	conf_free(must_finish(ACCOUNT "keep on\nkillsize 1M\n"));
	conf = conf_without_file();
	tap_ok(conf->n == 1 && conf_finish(conf, NULL, 0, &err) == -1 &&
		strcmp(err.text, "default: a host is missing") == 0,
	    "without an rc file a host is required: %s", err.text);
	conf_free(conf);
}

static void
test_overrides(void)
{
	static const struct conf_override all[] = {{"host", "h2"},
	    {"Tls_StartTLS", NULL}, {"delivery", "maildir,~/a,b"},
	    {"user", "u2"}, {"keep", "3d"}, {"received_header", "off"}};
	struct conf *conf = must_read("account a\naccount b\nhost h\n");
	struct err err;

	tap_ok(conf_finish(conf, all, N_OF(all), &err) == 0, "overrides");
	for (size_t i = 0; i < 2; i++) {
		prints(conf, i, "host", "h2");
		prints(conf, i, "port", "110");
		prints(conf, i, "tls_starttls", "on");
		prints(conf, i, "delivery", "maildir /home/x/a,b");
		prints(conf, i, "keep", "3d");
	}
	conf_free(conf);
	conf = conf_without_file();
	tap_ok(conf_finish(conf, all, N_OF(all), &err) == 0, "without a file");
	tap_is(conf->accounts[0]->name, "h2", "its name is that of its host");
	conf_free(conf);
}

static void
test_bad_overrides(void)
{
	static const struct {
		struct conf_override override;
		const char *message;
	} cases[] = {
	    {{"tls_starttls", "x"}, "--tls-starttls: not on, off or auto: x"},
	    {{"port", NULL}, "--port: not a port (1 to 65535) or a service"},
	    {{"password", "hunter2"},
		"--password: never on the command line, "
		"where others can see it"},
	    {{"tls_key_file", "pkcs11:a?pin-value=1"},
		"--tls-key-file: a PIN must be in a file of its own, "
		"pin-source=FILE"},
	    {{"received_header", NULL}, "--received-header: not supported yet"},
	    {{"no_such", "f"}, "--no-such: unknown option"},
	    {{"user", "a\nb"},
		"--user: a line end within the argument: a\\x0ab"},
	    {{"delivery", "exchange,x"},
		"--delivery: there is no delivery to an Exchange pickup "
		"directory, only maildir, mbox and mda: exchange,x"},
	};

	for (size_t i = 0; i < N_OF(cases); i++)
		finish_fails(
		    ACCOUNT, &cases[i].override, cases[i].message, ERR_USAGE);
}

/* What conf_format says, read again, says the same. */
static void
test_format(void)
{
	struct conf *conf = must_finish(
	    "account a\nhost h\nuser \" u \"\npassword \"\" secret \"\"\n"
	    "passwordeval \"\"x\"\"\nport 7\ntls off\nkeep 5w\n"
	    "delivery mda \"  x\"\nuidls_file /x/%A%U%H%z\n"
	    "killsize 3M\nmax_bytes 5\nmax_messages 3\norder newest\n"
	    "tls_fingerprint " PIN("00") "\ntls_fingerprint " PIN(
		"11") "\naccount \" b\"\nhost h\nuser \xc2\xa5\n"
		      "tls_trust_file /ca\ntls_priorities NORMAL\nport 8\n"
		      "tls_host_override x\nauth apop\npipelining off\n");
	struct buf first = {0}, second = {0};
	struct conf *again;

	conf_format(conf, &first);
	tap_ok(strstr(buf_string(&first), "secret") == NULL,
	    "no secret is printed");
	prints(conf, 0, "password", "*");
	prints(conf, 1, "uidls_file", "/home/x/.local/state/poplar/%U_at_%H:8");
	prints(conf, 0, "uidls_file", "/x/a%20u%20h%z");
	again = must_finish(buf_string(&first));
	conf_format(again, &second);
	tap_is(buf_string(&second), buf_string(&first), "it reads the same");
	tap_is(again->accounts[1]->uidls_file, conf->accounts[1]->uidls_file,
	    "also the path of the state");
	tap_is(again->accounts[0]->user, " u ", "also blanks");
	tap_is(again->accounts[0]->passwordeval, "\"x\"", "also quotes");
	conf_free(again);
	conf_free(conf);
	buf_free(&first);
	buf_free(&second);
}

static void
choose(const char *text, char *const names[], size_t n, const char *expected)
{
	struct conf *conf = must_read(text);
	struct buf chosen = {0};
	struct err err;

	if (conf_choose(conf, names, n, false, &err) == -1)
		buf_printf(&chosen, "%s; %s", err.text, err.hint);
	for (size_t i = 0; chosen.len == 0 && i < conf->n; i++)
		buf_printf(
		    &chosen, "%s%s", i > 0 ? " " : "", conf->accounts[i]->name);
	tap_is(buf_string(&chosen), expected, expected);
	buf_free(&chosen);
	conf_free(conf);
}

static void
test_choose(void)
{
	static const char text[] = "account ab\naccount ac\naccount b[x]\n";
	char star[] = "a*", exact[] = "b[x]", one[] = "ac", none[] = "zz*",
	     near[] = "abb";
	char *const two[] = {one, star}, *const exactly[] = {exact};
	char *const nothing[] = {star, none}, *const nearly[] = {near};
	struct conf *conf;
	struct err err;

	conf = must_read("account x\naccount default\n");
	tap_ok(conf_choose(conf, NULL, 0, true, &err) == 0 && conf->n == 2,
	    "all is every account");
	tap_ok(conf_choose(conf, NULL, 0, false, &err) == 0 && conf->n == 1 &&
		strcmp(conf->accounts[0]->name, "default") == 0,
	    "without names the default");
	conf_free(conf);
	conf = must_read(text);
	tap_ok(conf_choose(conf, NULL, 0, false, &err) == 0 && conf->n == 3,
	    "without a default every account");
	tap_ok(conf_choose(conf, two, 2, false, &err) == 0 && conf->n == 2 &&
		strcmp(conf->accounts[0]->name, "ab") == 0 &&
		strcmp(conf->accounts[1]->name, "ac") == 0,
	    "each once, in the order of the rc file");
	conf_free(conf);
	choose(text, exactly, 1, "b[x]");
	choose(text, nothing, 2, "no account is called zz*; ");
	choose(text, nearly, 1, "no account is called abb; did you mean ab");
}

int
main(void)
{
	char *remove;

	if (mkdtemp(dir) == NULL)
		return 1;
	setenv("HOME", "/home/x", 1);
	unsetenv("XDG_STATE_HOME");
	unsetenv("XDG_CONFIG_HOME");
	wait_open();
	test_defaults();
	test_table();
	test_grammar();
	test_long_line();
	test_errors();
	test_files();
	test_values();
	test_bad_values();
	test_later();
	test_sections();
	test_section_errors();
	test_fingerprints();
	test_eval();
	test_include();
	test_include_depth();
	test_permissions();
	test_ports();
	test_state_path();
	test_finish();
	test_overrides();
	test_bad_overrides();
	test_format();
	test_choose();
	test_stdin();
	remove = mem_printf("rm -rf '%s'", dir);
	tap_ok(system(remove) == 0, "cleaned up");
	free(remove);
	return tap_done();
}
