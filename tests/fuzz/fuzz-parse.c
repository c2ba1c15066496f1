/* SPDX-License-Identifier: ISC */
/* Each line of the input, to each parser; what they say must fit the line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pop3/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool holds)
{
	if (!holds)
		abort();
}

static bool
inside(const char *line, size_t n, const char *part, size_t len)
{
	return part >= line && len <= n && (size_t)(part - line) <= n - len;
}

static void
check_status(const char *line, size_t n)
{
	struct status_line status;

	if (!parse_status(line, n, &status)) {
		check(!status.ok);
		return;
	}
	check(n >= 3 && inside(line, n, status.text, status.text_len));
	check(status.ok == (memcmp(line, "+OK", 3) == 0));
	check(status.code == RESP_NONE || status.text[0] == '[');
}

static void
check_listings(const char *line, size_t n)
{
	uint64_t octets, count;
	uint32_t number, again;
	const char *uid;
	size_t uid_len;

	if (parse_stat(line, n, &count, &octets))
		check(count <= PARSE_NUMBER_MAX);
	if (parse_uidl_line(line, n, &number, &uid, &uid_len)) {
		check(number > 0 && number <= PARSE_NUMBER_MAX);
		check(inside(line, n, uid, uid_len));
		check(uid_len == 0 || (*uid != ' ' && uid[uid_len - 1] != ' '));
	}
	/* A scan listing is a unique-id listing whose UID is a number. */
	if (parse_list_line(line, n, &number, &octets))
		check(parse_uidl_line(line, n, &again, &uid, &uid_len) &&
		    again == number && uid_len > 0);
}

static void
check_timestamp(const char *line, size_t n)
{
	size_t len = 0, signs = 0;
	const char *id = parse_apop_timestamp(line, n, &len);

	if (id == NULL)
		return;
	check(len >= 5 && inside(line, n, id, len));
	check(id[0] == '<' && id[len - 1] == '>');
	for (size_t i = 1; i < len - 1; i++) {
		check(id[i] > ' ' && id[i] < 0x7f);
		check(id[i] != '<' && id[i] != '>');
		signs += id[i] == '@';
	}
	check(signs == 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct capabilities capa;

	parse_capabilities_init(&capa);
	while (size > 0) {
		const uint8_t *lf = memchr(data, '\n', size);
		size_t n = lf != NULL ? (size_t)(lf - data) : size;
		char *line = malloc(n + (n == 0));

		if (line == NULL)
			abort();
		memcpy(line, data, n);
		check_status(line, n);
		check_listings(line, n);
		check_timestamp(line, n);
		parse_capability(line, n, &capa);
		check(strlen(capa.sasl) < sizeof(capa.sasl));
		check(strlen(capa.implementation) < 128);
		free(line);
		data += n + (lf != NULL);
		size -= n + (lf != NULL);
	}
	check(capa.expire_days >= -1 && capa.login_delay >= -1);
	return 0;
}
