/* SPDX-License-Identifier: ISC */
#include "pop3/sasl.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "pop3/gnu.h"

#define REASON_MAX 512
#define ITERATIONS_MAX 1000000 /* a second or so of work */

/* Offsets and a flag in NTLM's challenge, and how long one is at least. */
#define NTLM_TARGET_NAME 12
#define NTLM_FLAGS 20
#define NTLM_CHALLENGE_MIN 32
#define NTLM_TARGET_INFO 40
#define NTLM_HAS_TARGET_INFO 0x00800000

struct sasl {
	const struct sasl_params *params;
	struct gnu *gnu;    /* NULL for what is our own */
	unsigned int steps; /* responses given */
	bool complete;	    /* nothing is left to be said */
	bool is_secret;	    /* the response in the making */
	bool gave_secret;   /* any so far */
	char reason[REASON_MAX];
};

static void
give_secret(struct sasl *sasl)
{
	sasl->is_secret = true;
	sasl->gave_secret = true;
}

/*
 * The mechanisms of our own
 */

static int
step_plain(struct sasl *sasl, const struct buf *challenge, struct buf *response,
    struct err *err)
{
	const struct sasl_params *params = sasl->params;

	(void)challenge;
	(void)err;
	buf_append(response, "", 1);
	buf_puts(response, params->user);
	buf_append(response, "", 1);
	buf_puts(response, params->secret);
	give_secret(sasl);
	sasl->complete = true;
	return 0;
}

/* Servers ask "Username:" and "Password:", or in words of their own. */
static int
step_login(struct sasl *sasl, const struct buf *challenge, struct buf *response,
    struct err *err)
{
	(void)challenge;
	(void)err;
	if (sasl->steps == 0) {
		buf_puts(response, sasl->params->user);
		return 0;
	}
	buf_puts(response, sasl->params->secret);
	give_secret(sasl);
	sasl->complete = true;
	return 0;
}

/* Whose mailbox: the server then cannot take another one that the
 * certificate would open. */
static int
step_external(struct sasl *sasl, const struct buf *challenge,
    struct buf *response, struct err *err)
{
	(void)challenge;
	(void)err;
	buf_puts(response, sasl->params->user);
	sasl->complete = true;
	return 0;
}

/* A second challenge is the reason of a no (RFC 7628, section 3.2.3); it
 * wants an answer before the no comes. */
static void
note_reason(struct sasl *sasl, const struct buf *challenge)
{
	log_printable(sasl->reason, sizeof(sasl->reason), challenge->data,
	    challenge->len);
	if (sasl->reason[0] == '\0')
		strlcpy(sasl->reason, "no reason", sizeof(sasl->reason));
	sasl->complete = true;
}

/* What both end with. */
static void
put_token(struct sasl *sasl, struct buf *response)
{
	buf_puts(response, "\1auth=Bearer ");
	buf_puts(response, sasl->params->secret);
	buf_puts(response, "\1\1");
	give_secret(sasl);
}

static int
step_xoauth2(struct sasl *sasl, const struct buf *challenge,
    struct buf *response, struct err *err)
{
	(void)err;
	if (sasl->steps > 0) {
		note_reason(sasl, challenge);
		return 0;
	}
	buf_puts(response, "user=");
	buf_puts(response, sasl->params->user);
	put_token(sasl, response);
	return 0;
}

/* A saslname (RFC 5802, section 5.1). */
static void
put_saslname(struct buf *dst, const char *name)
{
	for (; *name != '\0'; name++) {
		if (*name == ',')
			buf_puts(dst, "=2C");
		else if (*name == '=')
			buf_puts(dst, "=3D");
		else
			buf_append(dst, name, 1);
	}
}

static int
step_oauthbearer(struct sasl *sasl, const struct buf *challenge,
    struct buf *response, struct err *err)
{
	const struct sasl_params *params = sasl->params;

	(void)err;
	if (sasl->steps > 0) {
		note_reason(sasl, challenge);
		buf_puts(response, "\1");
		return 0;
	}
	buf_puts(response, "n,a=");
	put_saslname(response, params->user);
	buf_puts(response, ",\1host=");
	buf_puts(response, params->host);
	buf_puts(response, "\1port=");
	buf_puts(response, params->port);
	put_token(sasl, response);
	return 0;
}

/*
 * Those of GNU SASL
 */

static int
step_gnu(struct sasl *sasl, const struct buf *challenge, struct buf *response,
    struct err *err)
{
	give_secret(sasl);
	return gnu_step(sasl->gnu, challenge, response, &sasl->complete, err);
}

/* "NAME=value" and the comma behind it, eaten from the left. */
static bool
take_attribute(const char **at, const char *end, char name, struct buf *value)
{
	const char *start = *at + 2, *stop;

	if (end - *at < 2 || (*at)[0] != name || (*at)[1] != '=')
		return false;
	stop = memchr(start, ',', (size_t)(end - start));
	*at = stop != NULL ? stop + 1 : end;
	buf_free(value);
	buf_append(value, start, (size_t)((stop != NULL ? stop : end) - start));
	return true;
}

/*
 * A server-first-message (RFC 5802, section 7): a server that wants to be
 * paid in work, or a password for next to none, gets nothing.  What a
 * library might read in another way than this is refused, too.
 */
static int
check_iterations(
    const struct buf *challenge, unsigned int least, struct err *err)
{
	const char *at = challenge->data, *end = at + challenge->len;
	struct buf value = {0};
	uint64_t iterations;
	bool is_scram, is_sane;

	is_scram = memchr(at, '\0', challenge->len) == NULL &&
	    take_attribute(&at, end, 'r', &value) &&
	    take_attribute(&at, end, 's', &value) &&
	    take_attribute(&at, end, 'i', &value);
	is_sane = is_scram && value.len > 0 && value.data[0] != '0' &&
	    text_to_number(
		value.data, value.len, ITERATIONS_MAX, &iterations) &&
	    iterations >= least;
	buf_free(&value);
	if (is_sane)
		return 0;
	if (!is_scram)
		return err_set(
		    err, ERR_PROTOCOL, "the challenge is none of SCRAM");
	err_set(err, ERR_PROTOCOL,
	    "the server wants an iteration count that is not from %u to %d",
	    least > 0 ? least : 1, ITERATIONS_MAX);
	if (least > 0)
		err_hint(err,
		    "name the method in place of auth on if anybody in the "
		    "server's place may try passwords");
	return -1;
}

/* Who has the first response, with a nonce or a name, has nothing yet. */
static int
step_gnu_later(struct sasl *sasl, const struct buf *challenge,
    struct buf *response, struct err *err)
{
	if (sasl->steps > 0)
		give_secret(sasl);
	return gnu_step(sasl->gnu, challenge, response, &sasl->complete, err);
}

static int
step_scram(struct sasl *sasl, const struct buf *challenge, struct buf *response,
    struct err *err)
{
	if (sasl->steps == 1 &&
	    check_iterations(challenge, sasl->params->iterations_min, err) ==
		-1)
		return -1;
	return step_gnu_later(sasl, challenge, response, err);
}

/* Little-endian. */
static uint32_t
ntlm_number(const struct buf *message, size_t at, size_t octets)
{
	uint32_t number = 0;

	for (size_t i = octets; i > 0; i--)
		number = number << 8 | (unsigned char)message->data[at + i - 1];
	return number;
}

/* Do the length and offset at this place lead to octets of the message? */
static bool
ntlm_field_fits(const struct buf *message, size_t at)
{
	uint32_t length = ntlm_number(message, at, 2);
	uint32_t offset = ntlm_number(message, at + 4, 4);

	return length == 0 ||
	    (offset <= message->len && length <= message->len - offset);
}

/* A CHALLENGE_MESSAGE (MS-NLMP, section 2.2.1.2), which the library takes as
 * it comes: too short a one would be answered as if it held zeros. */
static bool
is_ntlm_challenge(const struct buf *message)
{
	static const char head[] = "NTLMSSP\0\2\0\0";

	if (message->len < NTLM_CHALLENGE_MIN ||
	    memcmp(message->data, head, sizeof(head)) != 0 ||
	    !ntlm_field_fits(message, NTLM_TARGET_NAME))
		return false;
	if ((ntlm_number(message, NTLM_FLAGS, 4) & NTLM_HAS_TARGET_INFO) == 0)
		return true;
	return message->len >= NTLM_TARGET_INFO + 8 &&
	    ntlm_field_fits(message, NTLM_TARGET_INFO);
}

static int
step_ntlm(struct sasl *sasl, const struct buf *challenge, struct buf *response,
    struct err *err)
{
	if (sasl->steps > 0 && !is_ntlm_challenge(challenge))
		return err_set(
		    err, ERR_PROTOCOL, "the challenge is none of NTLM");
	return step_gnu_later(sasl, challenge, response, err);
}

/*
 * The table
 */

enum secret_kind {
	NO_SECRET,
	PASSWORD,
	TOKEN,
};

typedef int step(struct sasl *sasl, const struct buf *challenge,
    struct buf *response, struct err *err);

/* Who begins, and what the client makes of challenges. */
enum listening {
	DEAF,	      /* they may say anything */
	SPEAKS_FIRST, /* the first one has nothing to say */
	LISTENS,
};

static const struct mechanism {
	const char *name;
	enum secret_kind secret;
	enum listening listening;
	/* Whether the first response may stand in the line of AUTH.  Never a
	 * token: Microsoft 365 hangs up, and it would not fit anyway. */
	bool initial;
	step *step;
} mechanisms[] = {
    [SASL_PLAIN] = {"PLAIN", PASSWORD, DEAF, true, step_plain},
    [SASL_LOGIN] = {"LOGIN", PASSWORD, DEAF, false, step_login},
    [SASL_EXTERNAL] = {"EXTERNAL", NO_SECRET, DEAF, true, step_external},
    [SASL_OAUTHBEARER] = {"OAUTHBEARER", TOKEN, SPEAKS_FIRST, false,
	step_oauthbearer},
    [SASL_XOAUTH2] = {"XOAUTH2", TOKEN, SPEAKS_FIRST, false, step_xoauth2},
    [SASL_CRAM_MD5] = {"CRAM-MD5", PASSWORD, LISTENS, false, step_gnu},
    [SASL_DIGEST_MD5] = {"DIGEST-MD5", PASSWORD, LISTENS, false, step_gnu},
    [SASL_SCRAM_SHA_1] = {"SCRAM-SHA-1", PASSWORD, SPEAKS_FIRST, true,
	step_scram},
    [SASL_SCRAM_SHA_1_PLUS] = {"SCRAM-SHA-1-PLUS", PASSWORD, SPEAKS_FIRST, true,
	step_scram},
    [SASL_SCRAM_SHA_256] = {"SCRAM-SHA-256", PASSWORD, SPEAKS_FIRST, true,
	step_scram},
    [SASL_SCRAM_SHA_256_PLUS] = {"SCRAM-SHA-256-PLUS", PASSWORD, SPEAKS_FIRST,
	true, step_scram},
    [SASL_GSSAPI] = {"GSSAPI", NO_SECRET, SPEAKS_FIRST, true, step_gnu},
    [SASL_NTLM] = {"NTLM", PASSWORD, SPEAKS_FIRST, false, step_ntlm},
};

const char *
sasl_name(enum sasl_mechanism mechanism)
{
	return mechanisms[mechanism].name;
}

static bool
is_gnu(enum sasl_mechanism mechanism)
{
	return mechanisms[mechanism].step == step_gnu ||
	    mechanisms[mechanism].step == step_scram ||
	    mechanisms[mechanism].step == step_ntlm;
}

const char *
sasl_library_version(void)
{
	return gnu_version();
}

bool
sasl_has(enum sasl_mechanism mechanism)
{
	return !is_gnu(mechanism) || gnu_has(sasl_name(mechanism));
}

bool
sasl_needs_secret(enum sasl_mechanism mechanism)
{
	return mechanisms[mechanism].secret != NO_SECRET;
}

bool
sasl_needs_token(enum sasl_mechanism mechanism)
{
	return mechanisms[mechanism].secret == TOKEN;
}

bool
sasl_has_initial_response(enum sasl_mechanism mechanism)
{
	return mechanisms[mechanism].initial;
}

/* Anything else would end the token within the message, or is the output of
 * a helper that failed. */
static int
check_token(const char *token, struct err *err)
{
	for (const char *s = token; *s != '\0'; s++)
		if (*s <= ' ' || *s > '~')
			return err_set(err, ERR_CONFIG,
			    "the secret is no access token: it has a character "
			    "that none may have (RFC 6750)");
	return 0;
}

/* Of GNU SASL's, the library knows best why it is not here. */
struct sasl *
sasl_open(const struct sasl_params *params, struct err *err)
{
	const char *name = sasl_name(params->mechanism);
	struct gnu *gnu = NULL;
	struct sasl *sasl;

	if (sasl_needs_token(params->mechanism) &&
	    check_token(params->secret, err) == -1)
		return NULL;
	if (is_gnu(params->mechanism)) {
		gnu = gnu_open(name, params, err);
		if (gnu == NULL)
			return NULL;
	}
	sasl = mem_zero(1, sizeof(*sasl));
	sasl->params = params;
	sasl->gnu = gnu;
	return sasl;
}

void
sasl_close(struct sasl *sasl)
{
	if (sasl == NULL)
		return;
	gnu_close(sasl->gnu);
	free(sasl);
}

/* What a response may take, so that its buffer need not grow: one that does
 * leaves copies of a secret behind. */
static void
make_room(const struct sasl_params *params, struct buf *response)
{
	buf_room(response,
	    128 + 3 * strlen(params->user) + strlen(params->host) +
		strlen(params->port) +
		(params->secret != NULL ? strlen(params->secret) : 0));
}

/* What the mechanism is to hear of it.  Of servers that refuse a token, the
 * words matter, whether they are base64 or not. */
static int
decode(const struct sasl *sasl, const char *text, size_t n, struct buf *out,
    struct err *err)
{
	const struct mechanism *mechanism =
	    &mechanisms[sasl->params->mechanism];

	if (text == NULL || mechanism->listening == DEAF ||
	    (mechanism->listening == SPEAKS_FIRST && sasl->steps == 0))
		return 0;
	if (n / 4 * 3 > SASL_CHALLENGE_MAX)
		return err_set(err, ERR_PROTOCOL,
		    "a challenge of more than %d octets", SASL_CHALLENGE_MAX);
	if (digest_base64_decode(text, n, out))
		return 0;
	if (mechanism->secret != TOKEN)
		return err_set(err, ERR_PROTOCOL, "the challenge is no base64");
	buf_append(out, text, n);
	return 0;
}

static int
respond(struct sasl *sasl, const char *challenge, size_t n,
    struct buf *response, struct err *err)
{
	const struct mechanism *mechanism =
	    &mechanisms[sasl->params->mechanism];
	struct buf decoded = {0};
	int status;

	if (sasl->complete)
		return err_set(err, ERR_PROTOCOL,
		    "the server asks for more than %s has to say",
		    mechanism->name);
	make_room(sasl->params, response);
	sasl->is_secret = false;
	status = decode(sasl, challenge, n, &decoded, err);
	/* GNU SASL takes an empty challenge for a string. */
	buf_string(&decoded);
	if (status == 0)
		status = mechanism->step(sasl, &decoded, response, err);
	buf_wipe(&decoded);
	return status;
}

char *
sasl_step(struct sasl *sasl, const char *challenge, size_t n, struct err *err)
{
	struct buf response = {0};
	char *encoded = NULL;

	if (respond(sasl, challenge, n, &response, err) == 0) {
		sasl->steps++;
		if (sasl->is_secret)
			log_mask(response.data, response.len);
		encoded = digest_base64(response.data, response.len);
	}
	buf_wipe(&response);
	return encoded;
}

enum sasl_mechanism
sasl_mechanism(const struct sasl *sasl)
{
	return sasl->params->mechanism;
}

bool
sasl_is_silent(const struct sasl *sasl)
{
	return sasl->steps == 0;
}

bool
sasl_gave_secret(const struct sasl *sasl)
{
	return sasl->gave_secret;
}

const char *
sasl_reason(const struct sasl *sasl)
{
	return sasl->reason;
}

int
sasl_finish(const struct sasl *sasl, struct err *err)
{
	enum sasl_mechanism mechanism = sasl->params->mechanism;
	bool has_token = sasl_needs_token(mechanism);

	if (sasl->reason[0] != '\0')
		return err_set(err, ERR_PROTOCOL,
		    "the server says yes after a reason for no: %s",
		    sasl->reason);
	if (sasl->complete || (has_token && sasl->steps == 1))
		return 0;
	return err_set(err, ERR_PROTOCOL,
	    "the server says yes before %s is at its end",
	    sasl_name(mechanism));
}
