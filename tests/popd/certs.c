/* SPDX-License-Identifier: ISC */
/* A certificate authority for tests, and what it and others have signed. */
#include <sys/stat.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509-ext.h>
#include <gnutls/x509.h>

#include "certs.h"

enum {
	DAY = 24 * 60 * 60
};

/* A certificate and its key. */
struct pair {
	gnutls_x509_crt_t cert;
	gnutls_x509_privkey_t key;
};

enum signer {
	BY_AUTHORITY,
	BY_INTERMEDIATE,
	BY_ITSELF,
};

enum oddity {
	CLIENT = 1,	 /* for a client, not a server */
	MUST_STAPLE = 2, /* RFC 7633 */
	REVOKED = 4,	 /* is in crl.pem */
	WITH_CHAIN = 8,	 /* the intermediate follows in the file */
	SHA1 = 16,	 /* signed with it */
	SMALL = 32,	 /* RSA with 1024 bits */
	NUL = 64,	 /* the name goes on behind one */
	COMMON_NAME_ONLY = 128,
};

struct request {
	const char *file; /* without .pem or .key */
	const char *name; /* common name, and host name */
	bool loopback;	  /* for 127.0.0.1 and ::1 too */
	int from, to;	  /* days from now */
	enum signer signer;
	unsigned int oddities;
};

static const struct request requests[] = {
    {"server", "localhost", true, -1, 3650, BY_AUTHORITY, 0},
    {"expired", "localhost", true, -730, -365, BY_AUTHORITY, 0},
    {"wronghost", "elsewhere.example.org", false, -1, 3650, BY_AUTHORITY, 0},
    {"selfsigned", "localhost", true, -1, 3650, BY_ITSELF, 0},
    {"chain", "localhost", true, -1, 3650, BY_INTERMEDIATE, WITH_CHAIN},
    {"nochain", "localhost", true, -1, 3650, BY_INTERMEDIATE, 0},
    {"revoked", "localhost", true, -1, 3650, BY_AUTHORITY, REVOKED},
    {"muststaple", "localhost", true, -1, 3650, BY_AUTHORITY, MUST_STAPLE},
    {"client", "alice", false, -1, 3650, BY_AUTHORITY, CLIENT},
    {"sha1", "localhost", true, -1, 3650, BY_AUTHORITY, SHA1},
    {"small", "localhost", true, -1, 3650, BY_AUTHORITY, SMALL},
    {"nul", "localhost\0.example.org", false, -1, 3650, BY_AUTHORITY, NUL},
    {"cn", "localhost", false, -1, 3650, BY_AUTHORITY, COMMON_NAME_ONLY},
    {"nulcn", "localhost\0.example.org", false, -1, 3650, BY_AUTHORITY,
	NUL | COMMON_NAME_ONLY},
};

enum {
	REQUESTS = sizeof(requests) / sizeof(requests[0])
};

/* Each call here can only fail for want of memory or of the algorithm. */
static void
must(int r)
{
	if (r < 0)
		errx(1, "certificate: %s", gnutls_strerror(r));
}

static gnutls_x509_privkey_t
new_key(bool small)
{
	gnutls_x509_privkey_t key;

	must(gnutls_x509_privkey_init(&key));
	if (small)
		must(gnutls_x509_privkey_generate(key, GNUTLS_PK_RSA, 1024, 0));
	else
		must(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
		    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
	return key;
}

static void
set_serial(gnutls_x509_crt_t cert)
{
	unsigned char serial[16];

	arc4random_buf(serial, sizeof(serial));
	serial[0] &= 0x3f;
	serial[0] |= 0x40;
	must(gnutls_x509_crt_set_serial(cert, serial, sizeof(serial)));
}

static void
set_key_ids(gnutls_x509_crt_t cert, gnutls_x509_crt_t issuer)
{
	unsigned char id[64];
	size_t size = sizeof(id);

	must(gnutls_x509_crt_get_key_id(cert, 0, id, &size));
	must(gnutls_x509_crt_set_subject_key_id(cert, id, size));
	size = sizeof(id);
	must(gnutls_x509_crt_get_key_id(issuer, 0, id, &size));
	must(gnutls_x509_crt_set_authority_key_id(cert, id, size));
}

/* What a certificate of the authority and one of a server have in common. */
static struct pair
new_pair(int from, int to, bool small)
{
	struct pair p = {.key = new_key(small)};
	time_t now = time(NULL);

	must(gnutls_x509_crt_init(&p.cert));
	must(gnutls_x509_crt_set_version(p.cert, 3));
	must(gnutls_x509_crt_set_key(p.cert, p.key));
	set_serial(p.cert);
	must(gnutls_x509_crt_set_activation_time(
	    p.cert, now + (time_t)from * DAY));
	must(gnutls_x509_crt_set_expiration_time(
	    p.cert, now + (time_t)to * DAY));
	return p;
}

static void
set_common_name(gnutls_x509_crt_t cert, const char *name, size_t length)
{
	must(gnutls_x509_crt_set_dn_by_oid(
	    cert, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned int)length));
}

static void
sign(struct pair *p, struct pair *issuer, bool sha1)
{
	set_key_ids(p->cert, issuer->cert);
	must(gnutls_x509_crt_sign2(p->cert, issuer->cert, issuer->key,
	    sha1 ? GNUTLS_DIG_SHA1 : GNUTLS_DIG_SHA256, 0));
}

/* Signed by itself if there is no issuer. */
static struct pair
new_authority(const char *name, struct pair *issuer)
{
	struct pair ca = new_pair(-1000, 3650, false);

	set_common_name(ca.cert, name, strlen(name));
	must(gnutls_x509_crt_set_basic_constraints(ca.cert, 1, -1));
	must(gnutls_x509_crt_set_key_usage(ca.cert,
	    GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN |
		GNUTLS_KEY_DIGITAL_SIGNATURE));
	sign(&ca, issuer != NULL ? issuer : &ca, false);
	return ca;
}

static size_t
name_length(const struct request *r)
{
	size_t length = strlen(r->name);

	if (r->oddities & NUL)
		length += 1 + strlen(r->name + length + 1);
	return length;
}

/* By hand, as the library would cut it at a NUL. */
static void
set_alt_name(gnutls_x509_crt_t cert, const char *name, size_t length)
{
	unsigned char der[64] = {
	    0x30, (unsigned char)(length + 2), 0x82, (unsigned char)length};

	memcpy(der + 4, name, length);
	must(gnutls_x509_crt_set_extension_by_oid(
	    cert, GNUTLS_X509EXT_OID_SAN, der, length + 4, 0));
}

static void
set_names(gnutls_x509_crt_t cert, const struct request *r)
{
	static const unsigned char ipv4[4] = {127, 0, 0, 1};
	static const unsigned char ipv6[16] = {[15] = 1};

	set_common_name(cert, r->name, name_length(r));
	if (r->oddities & COMMON_NAME_ONLY)
		return;
	if (r->oddities & NUL) {
		set_alt_name(cert, r->name, name_length(r));
		return;
	}
	must(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME,
	    r->name, (unsigned int)strlen(r->name), GNUTLS_FSAN_SET));
	if (!r->loopback)
		return;
	must(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS,
	    ipv4, sizeof(ipv4), GNUTLS_FSAN_APPEND));
	must(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS,
	    ipv6, sizeof(ipv6), GNUTLS_FSAN_APPEND));
}

/* RFC 7633: the features that the server must use, 5 being OCSP stapling. */
static void
set_must_staple(gnutls_x509_crt_t cert)
{
	gnutls_x509_tlsfeatures_t features;

	must(gnutls_x509_tlsfeatures_init(&features));
	must(gnutls_x509_tlsfeatures_add(features, 5));
	must(gnutls_x509_crt_set_tlsfeatures(cert, features));
	gnutls_x509_tlsfeatures_deinit(features);
}

static struct pair
new_leaf(const struct request *r, struct pair *signer)
{
	struct pair p = new_pair(r->from, r->to, (r->oddities & SMALL) != 0);

	set_names(p.cert, r);
	if (r->oddities & MUST_STAPLE)
		set_must_staple(p.cert);
	must(gnutls_x509_crt_set_basic_constraints(p.cert, 0, -1));
	must(gnutls_x509_crt_set_key_usage(
	    p.cert, GNUTLS_KEY_DIGITAL_SIGNATURE));
	must(gnutls_x509_crt_set_key_purpose_oid(p.cert,
	    r->oddities & CLIENT ? GNUTLS_KP_TLS_WWW_CLIENT
				 : GNUTLS_KP_TLS_WWW_SERVER,
	    0));
	sign(&p, signer != NULL ? signer : &p, (r->oddities & SHA1) != 0);
	return p;
}

static void
write_file(
    const char *dir, const char *name, const char *ending, gnutls_datum_t pem)
{
	char *path;
	FILE *f;
	int fd;

	if (asprintf(&path, "%s/%s%s", dir, name, ending) == -1)
		err(1, "memory");
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1 || (f = fdopen(fd, "w")) == NULL)
		err(1, "%s", path);
	fwrite(pem.data, 1, pem.size, f);
	if (fclose(f) != 0)
		err(1, "%s", path);
	gnutls_free(pem.data);
	free(path);
}

/* With its issuer's behind it, if there is one. */
static void
write_cert(const char *dir, const char *name, const struct pair *p,
    const struct pair *issuer)
{
	gnutls_datum_t pem, second;

	must(gnutls_x509_crt_export2(p->cert, GNUTLS_X509_FMT_PEM, &pem));
	if (issuer != NULL) {
		must(gnutls_x509_crt_export2(
		    issuer->cert, GNUTLS_X509_FMT_PEM, &second));
		pem.data = gnutls_realloc(pem.data, pem.size + second.size);
		memcpy(pem.data + pem.size, second.data, second.size);
		pem.size += second.size;
		gnutls_free(second.data);
	}
	write_file(dir, name, ".pem", pem);
}

static void
write_key(const char *dir, const char *name, const struct pair *p)
{
	gnutls_datum_t pem;

	must(gnutls_x509_privkey_export2_pkcs8(
	    p->key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem));
	write_file(dir, name, ".key", pem);
}

static void
free_pair(struct pair *p)
{
	gnutls_x509_crt_deinit(p->cert);
	gnutls_x509_privkey_deinit(p->key);
}

/* What was revoked a day ago; the next list comes so many days from now. */
static void
write_crl(const char *dir, const char *name, const struct pair *ca,
    const struct pair *revoked, int days)
{
	time_t now = time(NULL);
	gnutls_x509_crl_t crl;
	gnutls_datum_t pem;

	must(gnutls_x509_crl_init(&crl));
	must(gnutls_x509_crl_set_version(crl, 2));
	must(gnutls_x509_crl_set_this_update(crl, now - 2 * DAY));
	must(gnutls_x509_crl_set_next_update(crl, now + (time_t)days * DAY));
	must(gnutls_x509_crl_set_crt(crl, revoked->cert, now - DAY));
	must(gnutls_x509_crl_sign2(
	    crl, ca->cert, ca->key, GNUTLS_DIG_SHA256, 0));
	must(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &pem));
	write_file(dir, name, ".pem", pem);
	gnutls_x509_crl_deinit(crl);
}

static void
write_leaf(const char *dir, const struct request *r, struct pair *ca,
    struct pair *intermediate)
{
	struct pair *const signers[] = {ca, intermediate, NULL};
	struct pair p = new_leaf(r, signers[r->signer]);

	write_cert(
	    dir, r->file, &p, r->oddities & WITH_CHAIN ? intermediate : NULL);
	write_key(dir, r->file, &p);
	if (r->oddities & REVOKED) {
		write_crl(dir, "crl", ca, &p, 30);
		write_crl(dir, "oldcrl", ca, &p, -1);
	}
	free_pair(&p);
}

void
certs_write(const char *dir)
{
	struct pair ca, intermediate;

	if (mkdir(dir, 0700) == -1 && errno != EEXIST)
		err(1, "%s", dir);
	ca = new_authority("popd test authority", NULL);
	intermediate = new_authority("popd test intermediate", &ca);
	write_cert(dir, "ca", &ca, NULL);
	write_key(dir, "ca", &ca);
	for (size_t i = 0; i < REQUESTS; i++)
		write_leaf(dir, &requests[i], &ca, &intermediate);
	free_pair(&intermediate);
	free_pair(&ca);
}
