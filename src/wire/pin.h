/* SPDX-License-Identifier: ISC */
/* Fingerprints that a certificate, or its public key, may have. */
#ifndef WIRE_PIN_H
#define WIRE_PIN_H

#include <stdbool.h>

#include "base/err.h"
#include "wire/tls.h"
#include "wire/verdict.h"

/* ERR_CONFIG if one of the fingerprints makes no sense. */
int pin_check_syntax(const struct tls_params *params, struct err *err);

/* Does one of them fit? */
bool pin_matches(
    const struct tls_params *params, const struct certificate *certificate);

#endif
