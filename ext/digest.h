/*
 * A running SHA-256 or SHA-512 whose state can be put away and taken up again.
 *
 * The compression function is libcrypto's, which picks the fastest instructions of the
 * CPU it runs on. The stored form of a state is the one that Go's crypto/sha256 and
 * crypto/sha512 write, so that an upload begun on one registry can end on another:
 *
 *     magic (4 bytes) | 8 chaining words | one block: bytes not yet compressed, then
 *     zeros | bytes hashed so far (64 bits)            every number big-endian
 *
 * Nothing here allocates, blocks or keeps a reference to its arguments. A fr_digest is a
 * plain value: a copy of the struct is an independent digest. It has no lock; two threads
 * must not use one at the same time unless both only read it (const).
 */
#ifndef FASTREG_DIGEST_H
#define FASTREG_DIGEST_H

#ifndef OPENSSL_SUPPRESS_DEPRECATED
#define OPENSSL_SUPPRESS_DEPRECATED /* EVP has no way to export a state */
#endif

#include <openssl/sha.h>
#include <stddef.h>
#include <stdint.h>

#define FR_DIGEST_MAX_SIZE 64   /* of a digest, whatever the algorithm */
#define FR_DIGEST_MAX_STATE 204 /* of a stored state, whatever the algorithm */
#define FR_DIGEST_MAX_LENGTH ((UINT64_C(1) << 61) - 1) /* SHA-256 counts bits in 64 bits */

typedef enum { FR_SHA256, FR_SHA512 } fr_algorithm;

typedef struct {
    fr_algorithm algorithm;
    union {
        SHA256_CTX sha256;
        SHA512_CTX sha512;
    } ctx;
    uint64_t length; /* bytes hashed so far, at most FR_DIGEST_MAX_LENGTH */
} fr_digest;

/* Bytes of the algorithm's digest, and of its stored state. */
size_t fr_digest_size(fr_algorithm algorithm);
size_t fr_digest_state_size(fr_algorithm algorithm);

/* Make `d` the digest of no bytes. */
void fr_digest_init(fr_digest *d, fr_algorithm algorithm);

/*
 * Hash `size` more bytes; `data` may be NULL when `size` is 0.
 * Returns 0, or -1 with `d` unchanged when the length would pass FR_DIGEST_MAX_LENGTH.
 */
int fr_digest_update(fr_digest *d, const void *data, size_t size);

/* Write the digest of the bytes so far, fr_digest_size() bytes; `d` can go on. */
void fr_digest_value(const fr_digest *d, uint8_t *out);

/* Write the stored form, fr_digest_state_size() bytes. */
void fr_digest_export(const fr_digest *d, uint8_t *out);

/*
 * Make `d` the digest that `state` is the stored form of. The bytes are untrusted.
 * Returns 0, or -1 with `d` unchanged for what no export could have written, as far as
 * that can be seen: a wrong size or magic, a length over the limit, something other than
 * zeros behind the uncompressed bytes, or chaining words that have moved although no
 * block was complete.
 */
int fr_digest_restore(fr_digest *d, fr_algorithm algorithm, const uint8_t *state, size_t size);

#endif
