/* SPDX-License-Identifier: ISC */
/* A mailbox to show: a dozen messages, each odd in its own way. */
#include <sys/stat.h>

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"
#include "demo_texts.h"
#include "text.h"

enum {
	WIDTH = 1536, /* of the picture: 5 MiB with HEIGHT */
	HEIGHT = 1138,
	BASE64_LINE = 57, /* octets that make a line of 76 */
	VALUES = 60 * 24 * 28
};

static FILE *
create(const char *dir, const char *name)
{
	char *path;
	FILE *f;

	if (asprintf(&path, "%s/%s", dir, name) == -1)
		err(1, "memory");
	if ((f = fopen(path, "we")) == NULL)
		err(1, "%s", path);
	free(path);
	return f;
}

static void
finish(FILE *f, const char *name)
{
	if (fclose(f) != 0)
		err(1, "%s", name);
}

/* Writes text with each LF as CRLF. */
static void
put_text(FILE *f, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			putc('\r', f);
		putc(*text, f);
	}
}

static void
put_base64(FILE *f, const unsigned char *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		unsigned int bits = (unsigned int)data[i] << 16;

		if (i + 1 < len)
			bits |= (unsigned int)data[i + 1] << 8;
		if (i + 2 < len)
			bits |= data[i + 2];
		putc(digits[bits >> 18], f);
		putc(digits[bits >> 12 & 63], f);
		putc(i + 1 < len ? digits[bits >> 6 & 63] : '=', f);
		putc(i + 2 < len ? digits[bits & 63] : '=', f);
		if (i % BASE64_LINE == BASE64_LINE - 3 || i + 3 >= len)
			put_text(f, "\n");
	}
}

/* A share of 255, counted from `from` (0) to `to` (255). */
static unsigned char
fade(int value, int from, int to)
{
	int share = (value - from) * 255 / (to - from);

	return (unsigned char)(share < 0 ? 0 : share > 255 ? 255 : share);
}

/* The colour of one point: a sun that sets in the sea. */
static void
paint(unsigned char *rgb, int x, int y)
{
	int horizon = HEIGHT * 2 / 3;
	int dx = x - WIDTH / 2, dy = y - (horizon - 60);

	if (y < horizon && dx * dx + dy * dy < 140 * 140) {
		memcpy(rgb, "\377\360\226", 3);
	} else if (y < horizon) {
		rgb[0] = fade(y, -200, horizon);
		rgb[1] = fade(y, 0, horizon * 2);
		rgb[2] = fade(y, horizon + 300, 0);
	} else {
		int wave = (x * 7 + y * 13) % 29 + (dx / (y - horizon + 9)) % 7;

		rgb[0] = fade(y + wave, HEIGHT + 200, horizon - 100);
		rgb[1] = fade(y + wave, HEIGHT * 2, horizon - 300);
		rgb[2] = fade(y + wave, horizon - 500, HEIGHT + 300);
	}
}

static void
write_picture(const char *dir)
{
	static const char name[] = "04-attachment";
	FILE *f = create(dir, name);
	size_t size = 64 + (size_t)WIDTH * HEIGHT * 3;
	unsigned char *picture = text_alloc(size, 1), *p = picture;

	p += snprintf((char *)p, 64, "P6\n%d %d\n255\n", WIDTH, HEIGHT);
	for (int y = 0; y < HEIGHT; y++)
		for (int x = 0; x < WIDTH; x++, p += 3)
			paint(p, x, y);
	put_text(f, demo_picture_head);
	put_base64(f, picture, (size_t)(p - picture));
	put_text(f, demo_picture_tail);
	finish(f, name);
	free(picture);
}

static void
write_long_line(const char *dir)
{
	static const char name[] = "07-long-line";
	FILE *f = create(dir, name);

	put_text(f, demo_line_head);
	for (int i = 0; i < VALUES; i++) {
		int tide = i % 745 < 372 ? i % 745 : 745 - i % 745;

		fprintf(f, "%s%d", i == 0 ? "" : " ", 180 + tide / 3 + i % 3);
	}
	put_text(f, demo_line_tail);
	finish(f, name);
}

void
demo_write(const char *dir)
{
	if (mkdir(dir, 0700) == -1 && errno != EEXIST)
		err(1, "%s", dir);
	for (const struct demo_text *t = demo_texts; t->name != NULL; t++) {
		FILE *f = create(dir, t->name);

		put_text(f, t->text);
		finish(f, t->name);
	}
	write_picture(dir);
	write_long_line(dir);
}
