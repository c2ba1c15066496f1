/* SPDX-License-Identifier: ISC */
#include "wire/name.h"

#include <arpa/inet.h>
#include <string.h>

#include <gnutls/gnutls.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/text.h"

#define NAME_SHOWN_MAX 128

char *
name_to_ascii(const char *host, struct err *err)
{
	gnutls_datum_t mapped;
	char name[NAME_SHOWN_MAX], *copy;
	int r;

	for (const char *s = host;; s++) {
		if (*s == '\0')
			return mem_dup(host);
		if ((unsigned char)*s >= 0x80)
			break;
	}
	digest_start_library();
	r = gnutls_idna_map(host, (unsigned int)strlen(host), &mapped, 0);
	if (r < 0) {
		text_escape(name, sizeof(name), host, strlen(host));
		err_set(err, ERR_CONFIG, "host name \"%s\": %s", name,
		    gnutls_strerror(r));
		return NULL;
	}
	copy = mem_dup((const char *)mapped.data);
	gnutls_free(mapped.data);
	return copy;
}

size_t
name_address(const char *host, unsigned char address[sizeof(struct in6_addr)])
{
	char plain[INET6_ADDRSTRLEN];
	size_t len = strcspn(host, "%"); /* RFC 4007: fe80::1%eth0 */

	if (len >= sizeof(plain))
		return 0;
	memcpy(plain, host, len);
	plain[len] = '\0';
	if (inet_pton(AF_INET, plain, address) == 1)
		return sizeof(struct in_addr);
	if (inet_pton(AF_INET6, plain, address) == 1)
		return sizeof(struct in6_addr);
	return 0;
}
