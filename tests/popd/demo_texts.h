/* SPDX-License-Identifier: ISC */
/* The texts of the demonstration mailbox, with LF line ends. */
#ifndef POPD_DEMO_TEXTS_H
#define POPD_DEMO_TEXTS_H

struct demo_text {
	const char *name; /* file name, and so the unique-id */
	const char *text;
};

/* Ends with a row of NULL. */
extern const struct demo_text demo_texts[];

/* What comes before the generated picture, and after it. */
extern const char demo_picture_head[], demo_picture_tail[];

/* What comes before the generated long line, and after it. */
extern const char demo_line_head[], demo_line_tail[];

#endif
