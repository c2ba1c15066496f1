/* SPDX-License-Identifier: ISC */
/* The texts of the demonstration mailbox, with LF line ends. */
#include <stddef.h>

#include "demo_texts.h"

#define HEAD(date, from, subject, id)                \
	"Return-Path: <bounce+" id "@example.org>\n" \
	"Date: " date "\n"                           \
	"From: " from "\n"                           \
	"To: Robin Reader <robin@example.org>\n"     \
	"Subject: " subject "\n"                     \
	"Message-ID: <" id ".2026@example.org>\n"

#define MIME(type, encoding)       \
	"MIME-Version: 1.0\n"      \
	"Content-Type: " type "\n" \
	"Content-Transfer-Encoding: " encoding "\n\n"

/* clang-format off */
const struct demo_text demo_texts[] = {
{"01-plain",
HEAD("Mon, 02 Feb 2026 08:15:00 +0000", "Ada Porter <ada@example.org>",
    "Keys to the boat house", "keys")
"\n"
"Hello Robin,\n"
"\n"
"the keys to the boat house are with the baker again. She opens at six,\n"
"so you can pick them up before the ferry leaves.\n"
"\n"
"The red canoe has a leak. Please take the green one.\n"
"\n"
"Ada\n"},

{"02-iso-2022-jp",
HEAD("Tue, 03 Feb 2026 17:40:12 +0900",
    "=?ISO-2022-JP?B?GyRCOzNFREJATzobKEI=?= <yamada@example.org>",
    "=?ISO-2022-JP?B?GyRCTWg9NSROMnE1RCRLJEQkJCRGGyhC?=", "kaigi")
MIME("text/plain; charset=ISO-2022-JP", "7bit")
"\033$BNkLZMM\033(B\n"
"\n"
"\033$B$*@$OC$K$J$C$F$*$j$^$9!#;3ED$G$9!#\033(B\n"
"\033$BMh=5$N2q5D$O2PMKF|$N8a8e;0;~$+$i$KJQ99$K$J$j$^$7$?!#\033(B\n"
"\033$B>l=j$OFs3,$N2q5D<<$G$9!#$h$m$7$/$*4j$$$$$?$7$^$9!#\033(B\n"
"\n"
"\033$B;3ED\033(B\n"},

{"03-utf-8",
HEAD("Wed, 01 Apr 2026 09:02:44 +0900",
    "=?UTF-8?B?6Yi05pyo6Iqx5a2Q?= <hanako@example.org>",
    "=?UTF-8?B?5qGc44Gu5YaZ55yf44KS6YCB44KK44G+44GZ?=", "sakura")
MIME("text/plain; charset=UTF-8", "8bit")
"山田様\n"
"\n"
"昨日の桜がとてもきれいでしたので、写真を送ります。\n"
"「花より団子」とはいいますが、今年は花も見事でした。\n"
"また来週お会いしましょう。\n"
"\n"
"鈴木花子\n"},

{"05-dots",
HEAD("Sat, 14 Feb 2026 21:30:05 +0100", "Jules Roux <jules@example.org>",
    "Dots in the manuscript", "dots")
"\n"
"The typesetter asks what to do with these lines:\n"
"\n"
".PP\n"
".TH POPLAR 1\n"
"...and then there was silence.\n"
"..\n"
".\n"
"\n"
"The line above is a single dot. It has to stay, and the text goes on.\n"
"\n"
"Jules\n"
".\n"},

{"06-from-lines",
HEAD("Fri, 20 Feb 2026 06:12:59 -0500",
    "\"Harbour Office\" <harbour@example.org>",
    "From Monday on: new timetable", "ferry")
"\n"
"From Monday on the first ferry leaves at 6:40.\n"
"From the north pier, the second at 7:10.\n"
">From the south pier there is no ferry this week.\n"
">>From now on dogs travel free.\n"
"\n"
"From harbour@example.org Fri Feb 20 06:12:59 2026\n"
"The line above looks like the start of a message in an mbox. It is not.\n"},

{"08-html",
HEAD("Mon, 02 Mar 2026 12:00:00 +0000",
    "Corner Bookshop <news@example.org>", "Your order is ready", "order")
"MIME-Version: 1.0\n"
"Content-Type: multipart/alternative; boundary=\"=_leaf_and_page\"\n"
"\n"
"This is a message in two forms.\n"
"--=_leaf_and_page\n"
"Content-Type: text/plain; charset=us-ascii\n"
"\n"
"Dear Robin Reader,\n"
"\n"
"\"Trees of the Northern Shore\" has arrived. We keep it for you until\n"
"the end of the month.\n"
"--=_leaf_and_page\n"
"Content-Type: text/html; charset=us-ascii\n"
"\n"
"<!DOCTYPE html>\n"
"<html><body>\n"
"<p>Dear Robin Reader,</p>\n"
"<p><cite>Trees of the Northern Shore</cite> has arrived.\n"
"We keep it for you until the <b>end of the month</b>.</p>\n"
"</body></html>\n"
"--=_leaf_and_page--\n"},

{"09-empty-body",
HEAD("Sun, 08 Mar 2026 23:59:59 +0000", "Ada Porter <ada@example.org>",
    "Got the canoe back, thanks (no text)", "canoe")
"\n"},

{"10-header-only",
HEAD("Sun, 15 Mar 2026 04:00:01 +0000", "Scanner <scanner@example.org>",
    "Scan complete: 0 pages", "scan")},

{"11-no-final-newline",
HEAD("Sat, 21 Mar 2026 10:20:30 +0000", "Telegram Desk <desk@example.org>",
    "Arriving Tuesday", "telegram")
"\n"
"Arriving Tuesday noon stop bring umbrella stop"},

{"12-quoted-printable",
HEAD("Sat, 28 Mar 2026 18:45:00 +0100", "Jules Roux <jules@example.org>",
    "=?UTF-8?Q?Re:_Keys_to_the_boat_house_=E2=80=93_caf=C3=A9=3F?=",
    "cafe")
"In-Reply-To: <keys.2026@example.org>\n"
"References: <keys.2026@example.org>\n"
MIME("text/plain; charset=UTF-8; format=flowed", "quoted-printable")
"> The red canoe has a leak. Please take the green one.\n"
"\n"
"Caf=C3=A9 at noon, then? I will bring the cr=C3=A8me br=C3=BBl=C3=A9e, you =\n"
"bring the green canoe. =46rom there it is ten minutes to the island.\n"
"\n"
"Jules\n"},

{NULL, NULL},
};

const char demo_picture_head[] =
HEAD("Mon, 09 Feb 2026 19:05:33 +0100",
    "\"Noor, on the island\" <noor@example.org>",
    "The sunset that you missed", "sunset")
"MIME-Version: 1.0\n"
"Content-Type: multipart/mixed; boundary=\"=_sand_and_sea\"\n"
"\n"
"--=_sand_and_sea\n"
"Content-Type: text/plain; charset=us-ascii\n"
"\n"
"Straight from the pier, no filter. It is five megabytes, sorry.\n"
"\n"
"Noor\n"
"--=_sand_and_sea\n"
"Content-Type: image/x-portable-pixmap; name=\"sunset.ppm\"\n"
"Content-Disposition: attachment; filename=\"sunset.ppm\"\n"
"Content-Transfer-Encoding: base64\n"
"\n";

const char demo_picture_tail[] = "--=_sand_and_sea--\n";

const char demo_line_head[] =
HEAD("Fri, 27 Feb 2026 03:00:00 +0000", "Tide Gauge <gauge@example.org>",
    "Water level, one month on one line", "gauge")
"\n"
"Level in cm, a value each minute:\n";

const char demo_line_tail[] = "\nEnd of report.\n";
/* clang-format on */
