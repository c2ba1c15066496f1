/* SPDX-License-Identifier: ISC */
/* The mechanisms: the examples of their RFCs, and what servers may not do. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/mem.h"
#include "pop3/sasl.h"

#include "tap.h"

static const struct sasl_params alice = {
    .user = "alice",
    .secret = "sesame",
    .host = "pop.example.org",
    .port = "995",
};

static struct sasl_params
alice_by(enum sasl_mechanism mechanism)
{
	struct sasl_params params = alice;

	params.mechanism = mechanism;
	return params;
}

/* What was answered, with NUL as '|' and ^A as '^'; "FAILED" for nothing. */
static const char *
answer(struct sasl *sasl, const char *challenge, struct err *err)
{
	static char text[1024];
	char *encoded = challenge != NULL
	    ? digest_base64(challenge, strlen(challenge))
	    : NULL;
	char *response = sasl_step(
	    sasl, encoded, encoded != NULL ? strlen(encoded) : 0, err);
	struct buf decoded = {0};

	free(encoded);
	if (response == NULL)
		return "FAILED";
	digest_base64_decode(response, strlen(response), &decoded);
	for (size_t i = 0; i < decoded.len; i++)
		if (decoded.data[i] == '\0')
			decoded.data[i] = '|';
		else if (decoded.data[i] == '\1')
			decoded.data[i] = '^';
	strlcpy(text, buf_string(&decoded), sizeof(text));
	buf_free(&decoded);
	free(response);
	return text;
}

static void
test_plain_and_login(void)
{
	struct sasl_params params = alice_by(SASL_PLAIN);
	struct err err;
	struct sasl *sasl = sasl_open(&params, &err);

	tap_ok(sasl_is_silent(sasl), "PLAIN has said nothing");
	tap_ok(sasl_finish(sasl, &err) == -1, "so the server cannot say yes");
	tap_is(answer(sasl, NULL, &err), "|alice|sesame", "RFC 4616");
	tap_ok(sasl_gave_secret(sasl), "a secret was given");
	tap_ok(sasl_finish(sasl, &err) == 0, "now it can");
	tap_is(answer(sasl, "more", &err), "FAILED", "there is no more");
	tap_ok(err.class == ERR_PROTOCOL, "a fault of the server's");
	sasl_close(sasl);

	params = alice_by(SASL_LOGIN);
	sasl = sasl_open(&params, &err);
	tap_is(answer(sasl, "Username:", &err), "alice", "LOGIN: the user");
	tap_ok(!sasl_gave_secret(sasl), "that is no secret");
	tap_ok(sasl_finish(sasl, &err) == -1, "half of it is no login");
	tap_is(answer(sasl, "Password:", &err), "sesame", "the password");
	tap_ok(sasl_finish(sasl, &err) == 0, "and the end");
	sasl_close(sasl);
}

static void
test_external(void)
{
	struct sasl_params params = alice_by(SASL_EXTERNAL);
	struct err err;
	struct sasl *sasl;

	params.secret = NULL;
	tap_ok(!sasl_needs_secret(SASL_EXTERNAL), "EXTERNAL needs no secret");
	sasl = sasl_open(&params, &err);
	tap_is(answer(sasl, NULL, &err), "alice", "but a name");
	tap_ok(!sasl_gave_secret(sasl), "which is no secret");
	tap_ok(sasl_finish(sasl, &err) == 0, "and that is all");
	sasl_close(sasl);
}

static void
test_oauthbearer(void)
{
	struct sasl_params params = alice_by(SASL_OAUTHBEARER);
	struct err err;
	struct sasl *sasl = sasl_open(&params, &err);

	tap_is(answer(sasl, "", &err),
	    "n,a=alice,^host=pop.example.org^port=995^auth=Bearer sesame^^",
	    "RFC 7628, section 4.1");
	tap_ok(sasl_finish(sasl, &err) == 0, "that may be all");
	tap_is(answer(sasl, "{\"status\":\"\x1b[0m\"}", &err), "^",
	    "the reason of a no is answered with ^A");
	tap_is(sasl_reason(sasl), "{\"status\":\"\\x1b[0m\"}", "and escaped");
	tap_ok(sasl_finish(sasl, &err) == -1, "after which there is no yes");
	sasl_close(sasl);

	params.user = "a=b,c";
	sasl = sasl_open(&params, &err);
	tap_ok(strncmp(answer(sasl, "", &err), "n,a=a=3Db=2Cc,^", 15) == 0,
	    "= and , in a name");
	sasl_close(sasl);

	params.secret = "no token";
	tap_ok(sasl_open(&params, &err) == NULL, "a blank is in no token");
	tap_ok(err.class == ERR_CONFIG, "which is the account's fault");
}

static void
test_xoauth2(void)
{
	struct sasl_params params = alice_by(SASL_XOAUTH2);
	struct err err;
	struct sasl *sasl = sasl_open(&params, &err);

	tap_ok(!sasl_has_initial_response(SASL_XOAUTH2), "never in one line");
	tap_is(answer(sasl, "", &err), "user=alice^auth=Bearer sesame^^",
	    "as Google and Microsoft describe it");
	tap_is(answer(sasl, "{}", &err), "", "the reason: an empty line");
	sasl_close(sasl);
}

static bool
is_answered(struct sasl *sasl, const char *text, size_t n, struct err *err)
{
	char *response = sasl_step(sasl, text, n, err);

	free(response);
	return response != NULL;
}

static void
test_bounds(void)
{
	struct sasl_params params = alice_by(SASL_XOAUTH2);
	struct err err;
	struct sasl *sasl = sasl_open(&params, &err);
	size_t n = (size_t)SASL_CHALLENGE_MAX * 2;
	char *text = mem_alloc(n);

	memset(text, 'A', n);
	is_answered(sasl, "", 0, &err);
	tap_ok(!is_answered(sasl, text, n, &err), "a challenge too long");
	tap_ok(err.class == ERR_PROTOCOL, "is the server's fault");
	tap_ok(is_answered(sasl, "words, not base64", 17, &err),
	    "words that are no base64 are a reason as well");
	tap_is(sasl_reason(sasl), "words, not base64", "and shown");
	sasl_close(sasl);
	free(text);
}

static void
test_cram_md5(void)
{
	struct sasl_params params = alice_by(SASL_CRAM_MD5);
	struct err err;
	struct sasl *sasl;

	params.user = "tim";
	params.secret = "tanstaaftanstaaf";
	sasl = sasl_open(&params, &err);
	tap_is(answer(sasl, "<1896.697170952@postoffice.reston.mci.net>", &err),
	    "tim b913a602c7eda7a495b4e6e7334d3890", "RFC 2195");
	tap_ok(sasl_finish(sasl, &err) == 0, "that is all");
	sasl_close(sasl);

	sasl = sasl_open(&params, &err);
	tap_ok(!is_answered(sasl, "*no*", 4, &err), "no base64");
	sasl_close(sasl);
}

/* The library takes an empty challenge for a string. */
static void
test_digest_md5(void)
{
	struct sasl_params params = alice_by(SASL_DIGEST_MD5);
	struct err err;
	struct sasl *sasl = sasl_open(&params, &err);

	is_answered(sasl, "", 0, &err);
	tap_ok(!is_answered(sasl, "", 0, &err), "DIGEST-MD5: empty challenges");
	tap_ok(sasl_finish(sasl, &err) == -1, "lead nowhere");
	sasl_close(sasl);
}

/* The nonce is the library's: take it out of the first message. */
static char *
begin_scram(struct sasl *sasl)
{
	struct err err;
	const char *first = answer(sasl, NULL, &err);

	tap_ok(strncmp(first, "n,,n=alice,r=", 13) == 0, "client-first");
	tap_ok(!sasl_gave_secret(sasl), "without a secret");
	return mem_dup(first + 13);
}

static void
test_scram_first(const char *rest, bool good)
{
	struct sasl_params params = alice_by(SASL_SCRAM_SHA_256);
	struct err err = {.class = ERR_NONE};
	struct sasl *sasl = sasl_open(&params, &err);
	char *nonce = begin_scram(sasl);
	char *challenge = mem_printf("r=%sX,s=c2FsdA==%s", nonce, rest);

	tap_ok((strcmp(answer(sasl, challenge, &err), "FAILED") != 0) == good,
	    "s=...%s is %s", rest, good ? "taken" : "refused");
	tap_ok(good || err.class == ERR_PROTOCOL, "by class");
	tap_ok(sasl_gave_secret(sasl) == good, "and nothing was computed");
	tap_ok(sasl_finish(sasl, &err) == -1, "no yes without a proof");
	free(challenge);
	free(nonce);
	sasl_close(sasl);
}

static void
test_scram_proof(void)
{
	struct sasl_params params = alice_by(SASL_SCRAM_SHA_256);
	struct err err;
	struct sasl *sasl = sasl_open(&params, &err);
	char *nonce = begin_scram(sasl);
	char *challenge = mem_printf("r=%sX,s=c2FsdA==,i=4096", nonce);

	answer(sasl, challenge, &err);
	tap_is(answer(sasl,
		   "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", &err),
	    "FAILED", "a server that does not know the password");
	tap_ok(err.class == ERR_PROTOCOL && strstr(err.text, "prove") != NULL,
	    "is told: %s", err.text);
	free(challenge);
	free(nonce);
	sasl_close(sasl);
}

static void
test_scram(void)
{
	test_scram_first(",i=1", true);
	test_scram_first(",i=4096", true);
	test_scram_first(",i=1000000", true);
	test_scram_first(",i=1000001", false);
	test_scram_first(",i=99999999999999999999999", false);
	test_scram_first(",i=0", false);
	test_scram_first(",i=-1", false);
	test_scram_first(",i=", false);
	test_scram_first(",i=0x10", false);
	test_scram_first(",i=4096 ", false);
	test_scram_first(",x=1,i=4096", false);
	test_scram_first("", false);
	test_scram_proof();
}

static void
test_plus(void)
{
	static const unsigned char binding[32] = {1, 2, 3};
	struct sasl_params params = alice_by(SASL_SCRAM_SHA_256_PLUS);
	struct err err = {.class = ERR_NONE};
	struct sasl *sasl = sasl_open(&params, &err);

	tap_is(answer(sasl, NULL, &err), "FAILED", "-PLUS without TLS");
	tap_ok(err.class == ERR_UNAVAILABLE, "is not to be had");
	sasl_close(sasl);

	params.binding = binding;
	params.binding_size = sizeof(binding);
	sasl = sasl_open(&params, &err);
	tap_ok(strncmp(answer(sasl, NULL, &err), "p=tls-unique,,", 14) == 0,
	    "tls-unique");
	sasl_close(sasl);
	params.binding_is_exporter = true;
	sasl = sasl_open(&params, &err);
	tap_ok(strncmp(answer(sasl, NULL, &err), "p=tls-exporter,,", 16) == 0,
	    "tls-exporter");
	sasl_close(sasl);

	params.mechanism = SASL_SCRAM_SHA_256;
	sasl = sasl_open(&params, &err);
	tap_ok(strncmp(answer(sasl, NULL, &err), "n,,", 3) == 0,
	    "none where none is asked for");
	sasl_close(sasl);
}

/* An NTLM message of type 2 with the target "EXAMPLE". */
static const char ntlm_challenge[] =
    "TlRMTVNTUAACAAAADgAOADgAAAAFgomiASNFZ4mrze8AAAAAAAAAAAAAAABGAAAABgBwFwAA"
    "AA9FAFgAQQBNAFAATABFAA==";

static void
test_ntlm(void)
{
	struct sasl_params params = alice_by(SASL_NTLM);
	struct sasl *sasl;
	const char *type1;
	struct err err;

	params.domain = "WORK";
	sasl = sasl_open(&params, &err);
	type1 = answer(sasl, "", &err);
	tap_ok(strncmp(type1, "NTLMSSP|^|||", 12) == 0 &&
		strstr(type1, "WORK") != NULL,
	    "NTLM: type 1, with the domain");
	tap_ok(is_answered(sasl, ntlm_challenge, strlen(ntlm_challenge), &err),
	    "and the response");
	tap_ok(sasl_gave_secret(sasl) && sasl_finish(sasl, &err) == 0,
	    "that is all");
	sasl_close(sasl);
}

/* Lengths and offsets of the server's: CVE-2012-3482 was to believe them. */
static void
test_ntlm_bounds(void)
{
	static const struct {
		const char *challenge;
		const char *what;
	} cases[] = {
	    {"TlRMTVNTUAACAAAADgAOAIgTAAAFggmiASNFZ4mrze8=",
		"a target name far beyond the end"},
	    {"TlRMTVNTUAACAAAADgAOAB8AAAAFggmiASNFZ4mrze8=",
		"one that begins at the last octet"},
	    {"TlRMTVNTUAACAAAADgAOAPD///8FggmiASNFZ4mrze8=",
		"one whose end wraps around"},
	    {"TlRMTVNTUAACAAAA//8AACAAAAAFggmiASNFZ4mrze8=",
		"one of 65,535 octets"},
	    {"TlRMTVNTUAACAAAAAAAAACAAAAAFgomiASNFZ4mrze8AAAAAAAAAAAQABAAwAAAA"
	     "AAAAAA==",
		NULL},
	    {"TlRMTVNTUAACAAAAAAAAACAAAAAFgomiASNFZ4mrze8AAAAAAAAAABAAEAAoAAAA",
		"target information beyond the end"},
	    {"TlRMTVNTUAACAAAAAAAAACAAAAAFgomiASNFZ4mrze8AAAAA",
		"target information that is announced and not there"},
	    {"TlRMTVNTUAACAAAAAAAAACAAAAAFggmi", "too short for its nonce"},
	    {"TlRMTVNTUAADAAAAAAAAACAAAAAFggmiASNFZ4mrze8=", "another type"},
	    {"TlRMTVNTUAACAAAAAAAAACAAAAAFggmiASNFZ4mrze8=", NULL},
	};
	struct sasl_params params = alice_by(SASL_NTLM);
	struct err err;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *text = cases[i].challenge;
		struct sasl *sasl = sasl_open(&params, &err);
		bool answered;

		is_answered(sasl, "", 0, &err);
		answered = is_answered(sasl, text, strlen(text), &err);
		if (cases[i].what == NULL)
			tap_ok(answered, "NTLM: what fits is answered");
		else
			tap_ok(!answered && err.class == ERR_PROTOCOL &&
				!sasl_gave_secret(sasl),
			    "NTLM, CVE-2012-3482: %s", cases[i].what);
		sasl_close(sasl);
	}
}

static void
test_missing(void)
{
	struct sasl_params params = alice_by(SASL_SCRAM_SHA_256);
	struct err err;

	tap_ok(!sasl_has(SASL_SCRAM_SHA_256) && !sasl_has(SASL_GSSAPI),
	    "without GNU SASL there is no SCRAM, no GSSAPI");
	tap_ok(sasl_has(SASL_PLAIN) && sasl_has(SASL_XOAUTH2),
	    "but PLAIN and XOAUTH2");
	tap_ok(sasl_open(&params, &err) == NULL && err.class == ERR_CONFIG,
	    "which is told: %s", err.text);
}

int
main(void)
{
	test_plain_and_login();
	test_external();
	test_oauthbearer();
	test_xoauth2();
	test_bounds();
	if (sasl_library_version() == NULL) {
		test_missing();
		return tap_done();
	}
	test_cram_md5();
	test_digest_md5();
	test_scram();
	test_plus();
	if (sasl_has(SASL_NTLM)) {
		test_ntlm();
		test_ntlm_bounds();
	}
	return tap_done();
}
