/* SPDX-License-Identifier: ISC */
#include "mail/msg.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "tap.h"

static uint64_t
hash_in_pieces(struct msg *msg, const char *text, size_t n, size_t piece)
{
	msg_begin(msg);
	for (size_t at = 0; at < n; at += piece)
		msg_feed(msg, text + at, n - at < piece ? n - at : piece);
	return msg_header_hash(msg);
}

static uint64_t
hash(struct msg *msg, const char *text)
{
	return hash_in_pieces(msg, text, strlen(text), strlen(text) + 1);
}

static const char *
sender(struct msg *msg, const char *text)
{
	hash(msg, text);
	return msg_sender(msg);
}

static void
test_hash(struct msg *msg)
{
	static const char plain[] = "A: b\nSubject: x\n folded\n";
	uint64_t expected = hash(msg, plain);
	char text[256];
	static const char *const same[] = {
	    "A: b\nSubject: x\n folded\n\nbody\n",
	    "A: b\nSubject: x\n folded\n\n",
	    "A: b\nSubject: x\n folded",
	    "A: b\nSubject: x\n folded\n\r\nbody\n",
	    "Status: RO\nA: b\nSubject: x\n folded\n\n",
	    "A: b\nsTATUS : RO\n\tmore\n more\nSubject: x\n folded\n\n",
	    "A: b\nSubject: x\n folded\nX-UID: 7\n",
	};
	static const char *const other[] = {
	    "A: b\nSubject: x\nfolded\n\n",
	    "a: b\nSubject: x\n folded\n\n",
	    "A: b\nSubject: x\n folded\nStatusx: RO\n\n",
	    "A: b\nSubject: x\n folded\nStatus\n\n",
	    "Subject: x\n folded\nA: b\n\n",
	    " A: b\nSubject: x\n folded\n\n",
	    "\nA: b\nSubject: x\n folded\n\n",
	    "\rA: b\nSubject: x\n folded\n\n",
	};
	static const char *const fields[] = {"Status", "X-Status", "X-UID",
	    "X-UIDL", "X-Keywords", "X-IMAP", "X-IMAPbase", "Content-Length",
	    "Lines"};

	tap_ok(expected != 0, "a hash is not 0");
	tap_ok(hash(msg, "") != 0, "nor is that of nothing");
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		tap_ok(hash(msg, same[i]) == expected, "same header %zu", i);
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		tap_ok(hash(msg, other[i]) != expected, "other header %zu", i);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		snprintf(text, sizeof(text),
		    "A: b\n%s: 1\n 2\nSubject: x\n"
		    " folded\n\nb",
		    fields[i]);
		tap_ok(hash(msg, text) == expected, "without %s", fields[i]);
	}
}

static void
test_pieces(struct msg *msg)
{
	static const char text[] =
	    "Return-Path: <a@b>\nX-UIDL: \0zz\n c\nLong-Name-That-Goes-On-And-"
	    "On-For-Ever: 1\nno colon\n\r\rx: y\nLines: 3\n\r\n\nStatus: no\n";
	uint64_t whole =
	    hash_in_pieces(msg, text, sizeof(text) - 1, sizeof(text));
	bool same = true;

	for (size_t piece = 1; piece < sizeof(text); piece++)
		same = same &&
		    hash_in_pieces(msg, text, sizeof(text) - 1, piece) ==
			whole &&
		    strcmp(msg_sender(msg), "a@b") == 0 &&
		    msg_size(msg) == sizeof(text) - 1;
	tap_ok(same, "the same in pieces of any size");
}

/* States hold these hashes: their values must stay. */
static void
test_value(struct msg *msg)
{
	uint8_t sha256[DIGEST_SHA256_SIZE];
	struct buf header = {0};
	bool same = true;

	tap_ok(hash(msg, "Subject: x\n\n") == UINT64_C(0x7f4b298b20125127),
	    "the hash is the begin of a SHA-256");
	while (header.len < 40000) {
		buf_printf(&header, "X-%zu: y\n", header.len);
		digest_sha256(header.data, header.len, sha256);
		same = same &&
		    hash_in_pieces(msg, header.data, header.len, 4096) ==
			digest_short(sha256);
	}
	tap_ok(same, "that of a header of any length, too");
	buf_free(&header);
}

static void
test_bounds(struct msg *msg)
{
	static char block[65536];

	memset(block, 'x', sizeof(block));
	msg_begin(msg);
	msg_feed(msg, "From: ", 6);
	for (int i = 0; i < 1024; i++)
		msg_feed(msg, block, sizeof(block));
	tap_ok(msg_header_hash(msg) != 0, "a header line of 64 MiB");
	tap_is(msg_sender(msg), "", "has no sender");
	tap_ok(msg_size(msg) == 6 + 1024 * sizeof(block), "and its size");
	msg_feed(msg, "more", 4);
	tap_ok(msg_size(msg) == 10 + 1024 * sizeof(block),
	    "bytes behind the hash are counted");
}

static void
test_sender(struct msg *msg)
{
	static const struct {
		const char *header;
		const char *sender;
	} cases[] = {
	    {"Return-Path: <a@b>\nFrom: c@d\n", "a@b"},
	    {"From: c@d\nReturn-path:a@b\n", "a@b"},
	    {"Return-Path: <>\nFrom: c@d\n", ""},
	    {"Return-Path: < >\nFrom: c@d\n", ""},
	    {"Return-Path: nobody\nFrom: c@d\n", "c@d"},
	    {"Return-Path: <a@b>\nReturn-Path: <x@y>\n", "a@b"},
	    {"From: Some Body <a@b>\n", "a@b"},
	    {"From: \"Body, Some <x@y>\" <a@b>\n", "a@b"},
	    {"From: \"x@y\" <a@b>\n", "a@b"},
	    {"From: \"quo\\\"te@d\" a@b\n", "a@b"},
	    {"From: x@y <a@b>\n", "a@b"},
	    {"From: Body, Some <a@b>\n", "a@b"},
	    {"From: (x@y) a@b (z)\n", "a@b"},
	    {"From: (x (n\\)ested) <q@r>) a@b\n", "a@b"},
	    {"From: a@b, c@d\n", "a@b"},
	    {"From: a@b, See <c@d>\n", "a@b"},
	    {"From: Some\n Body\n\t<a@b>\n", "a@b"},
	    {"From:\n a@b", "a@b"},
	    {"From: <@r1,@r2:a@b>\n", "a@b"},
	    {"From: Group: a@b;\n", "a@b"},
	    {"From: <\"odd>one\"@b>\n", "\"odd>one\"@b"},
	    {"From: <a b@c>\n", ""},
	    {"From: <a\xc3\xa4@c>\n", ""},
	    {"From: <a\033[2J@c>\n", ""},
	    {"From: root\n", ""},
	    {"From: <root>\n", "root"},
	    {"From: <never ended\nTo: x@y\n", ""},
	    {"Subject: x\n\nFrom: a@b\n", ""},
	    {"Resent-From: a@b\n", ""},
	    {"", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		tap_is(sender(msg, cases[i].header), cases[i].sender,
		    cases[i].sender[0] != '\0' ? cases[i].sender : "(none)");
}

static void
test_long_sender(struct msg *msg)
{
	char text[600] = "Return-Path: <", *at = text + strlen(text);

	memset(at, 'a', 255);
	strcpy(at + 255, ">\n");
	tap_ok(strlen(sender(msg, text)) == 255, "255 bytes of address");
	memset(at, 'a', 256);
	strcpy(at + 256, ">\nFrom: b@c\n");
	tap_is(sender(msg, text), "b@c", "one more is none");
}

int
main(void)
{
	struct msg *msg = msg_new();

	test_hash(msg);
	test_pieces(msg);
	test_value(msg);
	test_bounds(msg);
	test_sender(msg);
	test_long_sender(msg);
	msg_free(msg);
	msg_free(NULL);
	return tap_done();
}
