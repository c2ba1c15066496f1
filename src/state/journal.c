/* SPDX-License-Identifier: ISC */
#include "state/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/text.h"

#define SUM_DIGITS 8
#define FIRST_LINE "poplar-state 1"
#define NOBODY "owner - -"

/* All that is printable but the percent sign itself. */
#define KEEP "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"

void
journal_reader_open(
    struct journal_reader *reader, int fd, uint64_t offset, uint64_t size)
{
	*reader =
	    (struct journal_reader){.fd = fd, .size = size, .read_to = offset};
	reader->block = mem_alloc(JOURNAL_BLOCK);
}

void
journal_reader_close(struct journal_reader *reader)
{
	free(reader->block);
	reader->block = NULL;
}

/* Read behind what is left of the block; false with errno on failure. */
static bool
refill(struct journal_reader *reader)
{
	size_t left = reader->len - reader->at, room;
	ssize_t got;

	memmove(reader->block, reader->block + reader->at, left);
	reader->at = 0;
	reader->len = left;
	while (reader->len < JOURNAL_BLOCK && reader->read_to < reader->size) {
		room = JOURNAL_BLOCK - reader->len;
		if (room > reader->size - reader->read_to)
			room = (size_t)(reader->size - reader->read_to);
		got = pread(reader->fd, reader->block + reader->len, room,
		    (off_t)reader->read_to);
		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1)
			return false;
		if (got == 0) /* somebody cut it */
			reader->size = reader->read_to;
		reader->len += (size_t)got;
		reader->read_to += (uint64_t)got;
	}
	return true;
}

int
journal_next(struct journal_reader *reader, struct journal_line *line)
{
	const char *from = reader->block + reader->at, *end;

	end = memchr(from, '\n', reader->len - reader->at);
	if (end == NULL && reader->read_to < reader->size) {
		if (!refill(reader))
			return -1;
		from = reader->block;
		end = memchr(from, '\n', reader->len);
	}
	if (end == NULL && reader->at == reader->len)
		return 0;
	line->text = from;
	line->ended = end != NULL;
	line->n = end != NULL ? (size_t)(end - from) : reader->len - reader->at;
	line->offset = reader->read_to - (reader->len - reader->at);
	reader->at += line->n + line->ended;
	return 1;
}

/* The values of hexadecimal digits as we write them, 16 for others. */
static unsigned int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned int)(c - '0');
	return c >= 'a' && c <= 'f' ? (unsigned int)(c - 'a') + 10 : 16;
}

static bool
read_hex(const char *text, size_t n, uint64_t *value)
{
	unsigned int wrong = 0;

	*value = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned int digit = hex_value(text[i]);

		wrong |= digit & 16;
		*value = *value << 4 | digit;
	}
	return wrong == 0;
}

static void
put_hex(struct buf *out, uint64_t value, size_t digits)
{
	char *to = buf_room(out, digits);

	for (size_t i = digits; i-- > 0; value >>= 4)
		to[i] = "0123456789abcdef"[value & 15];
	out->len += digits;
}

static void
checksum(const char *text, size_t n, uint64_t seed, char digits[SUM_DIGITS])
{
	uint64_t sum = XXH3_64bits_withSeed(text, n, seed);

	for (int i = SUM_DIGITS; i-- > 0; sum >>= 4)
		digits[i] = "0123456789abcdef"[sum & 15];
}

uint64_t
journal_owner_seed(const char *text, size_t n)
{
	return XXH3_64bits(text, n);
}

uint64_t
table_key(const struct seen *seen, const char *id, size_t n)
{
	return XXH3_64bits_withSeed(id, n, seen->secret);
}

void
journal_seal(struct buf *out, size_t start, uint64_t seed)
{
	char end[CHECKSUM_SIZE + 1] = " *";

	checksum(out->data + start, out->len - start, seed, end + 2);
	end[CHECKSUM_SIZE] = '\n';
	buf_append(out, end, sizeof(end));
}

void
journal_first_line(struct buf *out)
{
	size_t start = out->len;

	buf_puts(out, FIRST_LINE);
	journal_seal(out, start, 0);
}

void
journal_nobody_line(struct buf *out)
{
	size_t start = out->len;

	buf_puts(out, NOBODY);
	journal_seal(out, start, 0);
}

static bool
begins_with(const char *text, size_t n, const char *word)
{
	return n > strlen(word) && memcmp(text, word, strlen(word)) == 0;
}

/*
 * The checksum covers the owner as well, so that a record is never taken for
 * another's when the owner line above it is damaged, and one of ours is known
 * all the same.  n is without the checksum.
 */
static enum journal_kind
tell_apart(struct journal_scan *scan, const char *text, size_t n)
{
	uint64_t mine = scan->seen->mine;
	char sum[SUM_DIGITS];

	if (scan->owner != 0) {
		checksum(text, n, scan->owner, sum);
		if (memcmp(sum, text + n + 2, SUM_DIGITS) == 0)
			return scan->owner == mine ? JOURNAL_MINE
						   : JOURNAL_OTHERS;
	}
	checksum(text, n, 0, sum);
	if (memcmp(sum, text + n + 2, SUM_DIGITS) == 0) {
		if (!begins_with(text, n, "owner "))
			return begins_with(text, n, "poplar-state ")
			    ? JOURNAL_HEADER
			    : JOURNAL_GARBAGE;
		scan->owner = journal_owner_seed(text, n);
		return scan->owner == mine ? JOURNAL_HEADER : JOURNAL_OWNER;
	}
	checksum(text, n, mine, sum);
	if (memcmp(sum, text + n + 2, SUM_DIGITS) == 0) {
		scan->owner = mine;
		return JOURNAL_MINE;
	}
	return scan->owner == journal_owner_seed(NOBODY, strlen(NOBODY))
	    ? JOURNAL_OTHERS
	    : JOURNAL_GARBAGE;
}

bool
journal_is_whole(const struct journal_line *line)
{
	return line->ended && line->n > CHECKSUM_SIZE &&
	    line->n <= JOURNAL_LINE_MAX &&
	    memcmp(line->text + line->n - CHECKSUM_SIZE, " *", 2) == 0;
}

static enum journal_kind
check_line(struct journal_scan *scan, struct journal_line *line)
{
	enum journal_kind kind;

	if (!journal_is_whole(line))
		return JOURNAL_GARBAGE;
	kind = tell_apart(scan, line->text, line->n - CHECKSUM_SIZE);
	if (kind == JOURNAL_MINE || kind == JOURNAL_HEADER)
		line->n -= CHECKSUM_SIZE;
	return kind;
}

void
journal_scan_open(
    struct journal_scan *scan, const struct seen *seen, uint64_t size)
{
	*scan = (struct journal_scan){.seen = seen};
	journal_reader_open(&scan->reader, seen->fd, 0, size);
}

/* A piece is no line, whatever it looks like. */
static enum journal_kind
check_piece(struct journal_scan *scan, struct journal_line *line)
{
	bool continues = scan->in_pieces;

	scan->in_pieces = !line->ended;
	if (continues)
		return JOURNAL_GARBAGE;
	scan->number++;
	scan->start = line->offset;
	return check_line(scan, line);
}

enum journal_kind
journal_scan_next(struct journal_scan *scan, struct journal_line *line)
{
	int more = journal_next(&scan->reader, line);
	enum journal_kind kind;

	if (more != 1)
		return more == 0 ? JOURNAL_END : JOURNAL_FAILED;
	kind = check_piece(scan, line);
	if (kind == JOURNAL_GARBAGE &&
	    line->offset + line->n + line->ended >= scan->reader.size)
		return JOURNAL_TORN;
	/* Its owner is to find it, and to know that something is missing. */
	if (kind == JOURNAL_GARBAGE && scan->owner != 0 &&
	    scan->owner != scan->seen->mine)
		return JOURNAL_OTHERS;
	return kind;
}

struct journal_field
journal_take(struct journal_cursor *cursor)
{
	struct journal_field field = {cursor->at, 0};
	const char *blank =
	    memchr(cursor->at, ' ', (size_t)(cursor->end - cursor->at));

	if (blank == NULL)
		blank = cursor->end;
	field.n = (size_t)(blank - cursor->at);
	cursor->at = blank < cursor->end ? blank + 1 : blank;
	return field;
}

uint64_t
journal_take_number(struct journal_cursor *cursor, uint64_t unknown)
{
	const char *at = cursor->at, *start = at;
	uint64_t value = 0;

	/* So many digits cannot overflow. */
	while (at < cursor->end && *at >= '0' && *at <= '9' && at < start + 19)
		value = value * 10 + (uint64_t)(*at++ - '0');
	if (at == start || (at < cursor->end && *at != ' ')) {
		journal_take(cursor);
		return unknown;
	}
	cursor->at = at < cursor->end ? at + 1 : at;
	return value;
}

bool
journal_field_is(const struct journal_field *field, const char *word)
{
	return strlen(word) == field->n &&
	    memcmp(field->text, word, field->n) == 0;
}

void
journal_put(struct buf *out, const char *text, size_t n)
{
	buf_append(out, " ", 1);
	buf_append(out, text, n);
}

void
journal_put_number(struct buf *out, uint64_t number)
{
	buf_append(out, " ", 1);
	buf_put_number(out, number);
}

void
journal_put_octets(struct buf *out, uint64_t octets)
{
	if (octets >= SEEN_OCTETS_UNKNOWN)
		journal_put(out, "-", 1);
	else
		journal_put_number(out, octets);
}

void
journal_put_header(struct buf *out, uint64_t header_hash)
{
	if (header_hash == 0) {
		journal_put(out, "-", 1);
		return;
	}
	buf_append(out, " ", 1);
	put_hex(out, header_hash, 16);
}

#define EACH_BYTE UINT64_C(0x0101010101010101)
#define HIGH_BITS (0x80 * EACH_BYTE)

static uint64_t
has_zero(uint64_t bytes)
{
	return (bytes - EACH_BYTE) & ~bytes & HIGH_BITS;
}

/* The usual unique-id needs no encoding: all printable, no percent sign.
 * Eight bytes at a time; the last ones again. */
static bool
is_plain(const char *text, size_t n)
{
	uint64_t odd = 0, bytes;

	if (n < sizeof(bytes)) {
		for (size_t i = 0; i < n; i++)
			odd |=
			    text[i] < 0x21 || text[i] > 0x7e || text[i] == '%';
		return odd == 0;
	}
	for (size_t i = 0; i < n; i += sizeof(bytes)) {
		memcpy(&bytes,
		    text + (i + sizeof(bytes) <= n ? i : n - sizeof(bytes)),
		    sizeof(bytes));
		odd |= (bytes & HIGH_BITS) |
		    ((bytes - 0x21 * EACH_BYTE) & ~bytes & HIGH_BITS) |
		    has_zero(bytes ^ (0x7f * EACH_BYTE)) |
		    has_zero(bytes ^ ('%' * EACH_BYTE));
	}
	return odd == 0;
}

/* What "%%" begins comes out of no encoding: there digits follow a "%". */
static void
put_hashed(struct buf *out, const char *text, size_t n)
{
	uint8_t sha256[DIGEST_SHA256_SIZE];

	digest_sha256(text, n, sha256);
	buf_append(out, "%%", 2);
	for (size_t i = 0; i < sizeof(sha256); i++)
		put_hex(out, sha256[i], 2);
}

static void
encode(struct buf *out, const char *text, size_t n, size_t max)
{
	if (n > max)
		put_hashed(out, text, n);
	else if (is_plain(text, n))
		buf_append(out, text, n);
	else
		text_percent_encode(out, text, n, KEEP);
}

void
journal_encode(struct buf *out, const char *text, size_t n, size_t max)
{
	buf_append(out, " ", 1);
	if (n == 0)
		buf_append(out, "-", 1);
	else if (n == 1 && text[0] == '-')
		buf_append(out, "%2D", 3);
	else
		encode(out, text, n, max);
}

void
seen_id_of_uid(struct buf *id, const char *uid, size_t n)
{
	encode(id, uid, n, JOURNAL_ID_MAX);
	buf_string(id);
}

void
seen_id_of_header(struct buf *id, uint64_t header_hash)
{
	buf_append(id, "%h", 2);
	put_hex(id, header_hash, 16);
	buf_string(id);
}

bool
seen_id_is_of_header(const char *id)
{
	return strncmp(id, "%h", 2) == 0;
}

int
journal_identity(struct seen *seen, const struct seen_message *message,
    struct journal_field *id, uint64_t *header_hash, struct err *err)
{
	struct journal_field word, header;
	struct journal_cursor fields;
	struct journal_line line;

	*header_hash = 0;
	if (journal_look(seen, message->offset, &line, err) == -1)
		return -1;
	fields = (struct journal_cursor){line.text, line.text + line.n};
	if ((message->flags & JOURNAL_ID_ONLY) != 0) {
		*id = journal_take(&fields);
		return 0;
	}
	word = journal_take(&fields);
	if (journal_field_is(&word, "update")) {
		journal_take(&fields); /* its number */
		journal_take(&fields); /* its old id */
		*id = journal_take(&fields);
	} else {
		*id = journal_take(&fields);
		journal_take(&fields); /* octets: time follows */
	}
	journal_take(&fields);
	header = journal_take(&fields);
	if (header.n != 16 || !read_hex(header.text, 16, header_hash))
		*header_hash = 0;
	return 0;
}
