/* SPDX-License-Identifier: ISC */
#include "run/advice.h"

#include <fnmatch.h>
#include <string.h>
#include <strings.h>

#define APP_PASSWORD                                                   \
	"not the password of the web page is wanted here, but an app " \
	"password that is made there"

#define GMAIL                                                       \
	"Gmail wants an app password, from "                        \
	"https://myaccount.google.com/apppasswords (with two-step " \
	"verification only), or OAuth2"

#define MICROSOFT                                                            \
	"Microsoft takes no passwords for POP3 any more, only OAuth2 (auth " \
	"xoauth2; contrib/passwords names helpers)"

#define AUTHORIZATION_CODE                                                 \
	"not the password of the web page is wanted here, but the "        \
	"authorization code that its settings show when POP3 is switched " \
	"on there"

#define POP_OFF "POP3 has to be switched on in the settings of the mailbox"

#define TLS_FIRST                                                         \
	"the server takes passwords under TLS only: tls on, and on port " \
	"110 tls_starttls on"

#define IN_USE                                                              \
	"another program or phone has the mailbox open, or the server has " \
	"not noticed yet that one is gone: wait some minutes"

#define FEWER "too many programs or phones look into this mailbox at a time"

#define LESS_OFTEN "the server wants to be asked less often"

/* Bytes of Chinese replies: "authorization code". */
#define CODE_IN_GBK "\xca\xda\xc8\xa8\xc2\xeb"
#define CODE_IN_UTF8 "\xe6\x8e\x88\xe6\x9d\x83\xe7\xa0\x81"

/*
 * To know one more reply is to add a row, above those that fit it as well but
 * say less: what a server says counts before what its provider wants.  The
 * texts are from bug reports and the sources of servers.
 */
static const struct advice table[] = {
    /* -- providers by what they say -- */
    {"*.gmail.com", "application-specific password", ADVICE_NO_LOGIN, GMAIL},
    {"*.gmail.com", "username and password not accepted", ADVICE_NO_LOGIN,
	GMAIL},
    {NULL, "web login required", ADVICE_NO_LOGIN,
	"log in by a web browser once as this user, and confirm that it was "
	"you; else use an app password or OAuth2"},
    {NULL, "command or bandwidth limits", ADVICE_LATER,
	"the provider's limit for a day is used up: try again tomorrow, and "
	"set max_bytes"},
    {NULL, "basic authentication is disabled", ADVICE_NO_LOGIN, MICROSOFT},
    {"*.office365.com", "logon failure: unknown user name or bad password",
	ADVICE_DOUBT, MICROSOFT},
    {"*.outlook.com", "logon failure: unknown user name or bad password",
	ADVICE_DOUBT, MICROSOFT},
    {NULL, "logon failure: unknown user name or bad password", ADVICE_DOUBT,
	"Exchange says so when user or password is wrong, when POP3 is off "
	"for the mailbox, and when it is busy"},
    {NULL, "authentication failure: unknown user name or bad password",
	ADVICE_DOUBT,
	"Exchange says so when the token is not for this user or lacks the "
	"scope POP.AccessAsUser.All, when POP3 is off for the mailbox, and "
	"when it is busy"},
    {NULL, "user is authenticated but not connected", ADVICE_LATER,
	"Exchange says so when POP3 is off for the mailbox, and when "
	"it is busy"},
    {NULL, "login failure or pop3 disabled", ADVICE_NO_LOGIN,
	POP_OFF ", and " APP_PASSWORD},
    {NULL, CODE_IN_GBK, ADVICE_NO_LOGIN, AUTHORIZATION_CODE},
    {NULL, CODE_IN_UTF8, ADVICE_NO_LOGIN, AUTHORIZATION_CODE},
    {NULL, "authorization code", ADVICE_NO_LOGIN, AUTHORIZATION_CODE},
    {NULL, "authorized code", ADVICE_NO_LOGIN, AUTHORIZATION_CODE},
    {NULL, "download exceed", ADVICE_LATER,
	"the provider lets only so much be fetched in a time: max_messages "
	"or max_bytes leaves the rest to later runs"},
    /* -- any server by what it says -- */
    {NULL, "application password", ADVICE_NO_LOGIN, APP_PASSWORD},
    {NULL, "app password", ADVICE_NO_LOGIN, APP_PASSWORD},
    {NULL, "application-specific password", ADVICE_NO_LOGIN, APP_PASSWORD},
    {NULL, "not enabled for pop", ADVICE_NO_LOGIN, POP_OFF},
    {NULL, "enable pop", ADVICE_NO_LOGIN, POP_OFF},
    {NULL, "pop3 disabled", ADVICE_NO_LOGIN, POP_OFF},
    {NULL, "pop3 is disabled", ADVICE_NO_LOGIN, POP_OFF},
    {NULL, "pop is disabled", ADVICE_NO_LOGIN, POP_OFF},
    {NULL, "pop access is disabled", ADVICE_NO_LOGIN, POP_OFF},
    {NULL, "plaintext authentication disallowed", ADVICE_NEVER, TLS_FIRST},
    {NULL, "stls first", ADVICE_NEVER, TLS_FIRST},
    {NULL, "account is locked", ADVICE_NO_LOGIN,
	"the provider has locked the account: log in by a web browser"},
    {NULL, "account locked", ADVICE_NO_LOGIN,
	"the provider has locked the account: log in by a web browser"},
    {NULL, "maildrop already locked", ADVICE_LATER, IN_USE},
    {NULL, "maildrop locked", ADVICE_LATER, IN_USE},
    {NULL, "maildrop is locked", ADVICE_LATER, IN_USE},
    {NULL, "mailbox locked", ADVICE_LATER, IN_USE},
    {NULL, "mailbox is locked", ADVICE_LATER, IN_USE},
    {NULL, "mailbox is already locked", ADVICE_LATER, IN_USE},
    {NULL, "unable to lock", ADVICE_LATER, IN_USE},
    {NULL, "can't lock", ADVICE_LATER, IN_USE},
    {NULL, "mailbox in use", ADVICE_LATER, IN_USE},
    {NULL, "mailbox is in use", ADVICE_LATER, IN_USE},
    {NULL, "maildrop in use", ADVICE_LATER, IN_USE},
    {NULL, "another pop3 session", ADVICE_LATER, IN_USE},
    {NULL, "another pop session", ADVICE_LATER, IN_USE},
    {NULL, "too many connections", ADVICE_LATER, FEWER},
    {NULL, "too many simultaneous", ADVICE_LATER, FEWER},
    {NULL, "too many concurrent", ADVICE_LATER, FEWER},
    {NULL, "maximum number of connections", ADVICE_LATER, FEWER},
    {NULL, "too many login", ADVICE_TOO_SOON, LESS_OFTEN},
    {NULL, "too many authentication", ADVICE_TOO_SOON, LESS_OFTEN},
    {NULL, "too many auth attempts", ADVICE_TOO_SOON, LESS_OFTEN},
    {NULL, "too often", ADVICE_TOO_SOON, LESS_OFTEN},
    {NULL, "too frequent", ADVICE_TOO_SOON, LESS_OFTEN},
    {NULL, "rate limit", ADVICE_TOO_SOON, LESS_OFTEN},
    {NULL, "wait a few minutes", ADVICE_TOO_SOON, LESS_OFTEN},
    /* -- providers by what they want -- */
    {"*.gmail.com", NULL, ADVICE_USUAL, GMAIL},
    {"*.office365.com", NULL, ADVICE_USUAL, MICROSOFT},
    {"*.outlook.com", NULL, ADVICE_USUAL, MICROSOFT},
    {"*.mail.yahoo.com", NULL, ADVICE_USUAL,
	APP_PASSWORD " (Account security)"},
    {"*.aol.com", NULL, ADVICE_USUAL, APP_PASSWORD " (Account security)"},
    {"*.att.net", NULL, ADVICE_USUAL,
	"not the password of the web page is wanted here, but a secure mail "
	"key that is made there"},
    {"*.qq.com", NULL, ADVICE_USUAL, AUTHORIZATION_CODE},
    {"*.163.com", NULL, ADVICE_USUAL, AUTHORIZATION_CODE},
    {"*.126.com", NULL, ADVICE_USUAL, AUTHORIZATION_CODE},
    {"*.yeah.net", NULL, ADVICE_USUAL, AUTHORIZATION_CODE},
    {"*.sina.com", NULL, ADVICE_USUAL, AUTHORIZATION_CODE},
    {"*.mail.ru", NULL, ADVICE_USUAL, APP_PASSWORD},
    {"*.yandex.*", NULL, ADVICE_USUAL, POP_OFF ", and " APP_PASSWORD},
    {"*.fastmail.com", NULL, ADVICE_USUAL, APP_PASSWORD},
    {"*.zoho.*", NULL, ADVICE_USUAL,
	POP_OFF "; with two-factor login, " APP_PASSWORD},
    {"*.gmx.*", NULL, ADVICE_USUAL,
	POP_OFF ", also when it was not used for long; with two-factor "
		"login, " APP_PASSWORD},
    {"*.web.de", NULL, ADVICE_USUAL,
	POP_OFF ", also when it was not used for long; with two-factor "
		"login, " APP_PASSWORD},
    {"*.t-online.de", NULL, ADVICE_USUAL,
	"not the password of the web page is wanted here, but the one for "
	"mail programs that is made there"},
    {"*.inbox.lv", NULL, ADVICE_USUAL,
	POP_OFF ", also when it was not used for long or too often"},
    {"*.naver.com", NULL, ADVICE_USUAL,
	POP_OFF "; with two-factor login, " APP_PASSWORD},
};

static bool
contains(const char *text, size_t n, const char *part)
{
	size_t length = strlen(part);

	for (size_t i = 0; i + length <= n; i++)
		if (strncasecmp(text + i, part, length) == 0)
			return true;
	return false;
}

static bool
fits(const struct advice *row, const char *host, enum err_class class,
    const char *text, size_t n)
{
	if (row->host != NULL &&
	    (host == NULL || fnmatch(row->host, host, FNM_CASEFOLD) != 0))
		return false;
	return row->text == NULL ? class == ERR_NOPERM
				 : contains(text, n, row->text);
}

const struct advice *
advice_find(const char *host, enum err_class class, const char *text, size_t n)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (fits(&table[i], host, class, text, n))
			return &table[i];
	return NULL;
}
