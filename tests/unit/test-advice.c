/* SPDX-License-Identifier: ISC */
#include "run/advice.h"

#include "tap.h"

static const struct advice *
find(const char *host, const char *text)
{
	return advice_find(host, ERR_NOPERM, text, strlen(text));
}

/* The reply has this meaning, and the hint these words; NULL: none. */
static void
advises(const char *host, const char *text, enum advice_meaning meaning,
    const char *words)
{
	const struct advice *advice = find(host, text);

	if (words == NULL)
		tap_ok(advice == NULL, "nothing to say: %s", text);
	else if (tap_ok(advice != NULL && advice->meaning == meaning &&
			 strstr(advice->hint, words) != NULL,
		     "%s: %s", host != NULL ? host : "any", text) == false)
		printf("# got: %s\n", advice != NULL ? advice->hint : "none");
}

static void
test_providers(void)
{
	advises("pop.gmail.com",
	    "[AUTH] Application-specific password required: "
	    "http://support.google.com/accounts/bin/answer.py?answer=185833",
	    ADVICE_NO_LOGIN, "apppasswords");
	advises("pop.gmail.com", "[AUTH] Username and password not accepted.",
	    ADVICE_NO_LOGIN, "apppasswords");
	advises("pop.gmail.com",
	    "[AUTH] Web login required: "
	    "http://support.google.com/mail/bin/answer.py?answer=78754",
	    ADVICE_NO_LOGIN, "web browser");
	advises("pop.gmail.com",
	    "[SYS/PERM] Your account is not enabled for POP access. Please "
	    "visit your Gmail settings page and enable your account for POP "
	    "access.",
	    ADVICE_NO_LOGIN, "switched on");
	advises("outlook.office365.com",
	    "Logon failure: unknown user name or bad password.", ADVICE_DOUBT,
	    "OAuth2");
	advises("mail.example.org",
	    "Logon failure: unknown user name or bad password.", ADVICE_DOUBT,
	    "busy");
	advises("outlook.office365.com",
	    "Authentication failure: unknown user name or bad password.",
	    ADVICE_DOUBT, "POP.AccessAsUser.All");
	advises("pop-mail.outlook.com", "Basic authentication is disabled.",
	    ADVICE_NO_LOGIN, "OAuth2");
	advises("pop.yandex.ru",
	    "[AUTH] login failure or POP3 disabled, try later. sc=HtjJitcPRuQ1",
	    ADVICE_NO_LOGIN, "switched on");
	advises("pop.mail.ru",
	    "NEOBHODIM parol prilozheniya https://help.mail.ru/mail/security "
	    "/ Application password is REQUIRED",
	    ADVICE_NO_LOGIN, "app password");
}

static void
test_authorization_codes(void)
{
	/* "Please log in with the authorization code", as QQ has said it. */
	advises("pop.qq.com",
	    "\xc7\xeb\xca\xb9\xd3\xc3\xca\xda\xc8\xa8\xc2\xeb\xb5\xc7\xc2\xbc",
	    ADVICE_NO_LOGIN, "authorization code");
	advises("mail.example.cn",
	    "\xe8\xaf\xb7\xe4\xbd\xbf\xe7\x94\xa8\xe6\x8e\x88\xe6\x9d\x83\xe7"
	    "\xa0\x81",
	    ADVICE_NO_LOGIN, "authorization code");
	advises("pop.qq.com",
	    "Login Fail. Please enter your authorization code to login.",
	    ADVICE_NO_LOGIN, "authorization code");
	advises("pop.163.com", "Unable to log on", ADVICE_USUAL,
	    "authorization code");
	advises("pop.exmail.qq.com", "no", ADVICE_USUAL, "authorization code");
	advises("pop.163.com", "Download exceed", ADVICE_LATER, "max_messages");
}

static void
test_hosts(void)
{
	advises("pop.mail.yahoo.com", "[AUTH] invalid user or password",
	    ADVICE_USUAL, "app password");
	advises("POP.GMX.NET", "authentication failed", ADVICE_USUAL,
	    "switched on");
	advises("pop.gmx.net", "mailbox is locked", ADVICE_LATER,
	    "another program");
	advises("pop.gmail.com.example.org", "no", ADVICE_USUAL, NULL);
	advises("gmail.com", "no", ADVICE_USUAL, NULL);
	tap_ok(advice_find("pop.gmail.com", ERR_TEMPFAIL, "later", 5) == NULL,
	    "a host alone counts for refused logins only");
	tap_ok(advice_find(NULL, ERR_TEMPFAIL, "rate limit", 10) != NULL,
	    "a text counts for all");
}

static void
test_any(void)
{
	advises(
	    NULL, "maildrop already locked", ADVICE_LATER, "another program");
	advises(NULL, "Can't lock mailbox", ADVICE_LATER, "another program");
	advises(NULL, "Account is locked", ADVICE_NO_LOGIN, "web browser");
	advises(NULL, "Too many connections from your IP", ADVICE_LATER,
	    "at a time");
	advises(NULL, "login too often", ADVICE_TOO_SOON, "less often");
	advises(NULL,
	    "[AUTH] Plaintext authentication disallowed on non-secure "
	    "(SSL/TLS) connections.",
	    ADVICE_NEVER, "tls on");
	advises(NULL, "wrong password", ADVICE_USUAL, NULL);
	advises(NULL, "", ADVICE_USUAL, NULL);
	advises("", "no", ADVICE_USUAL, NULL);
	tap_ok(advice_find(NULL, ERR_NOPERM, "rate limit", 9) == NULL,
	    "the text ends where it ends");
}

int
main(void)
{
	test_providers();
	test_authorization_codes();
	test_hosts();
	test_any();
	return tap_done();
}
