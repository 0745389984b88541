#include "digest.h"

#include <string.h>

enum { MAGIC_SIZE = 4, WORDS = 8, LENGTH_SIZE = 8 };

typedef struct {
    char magic[MAGIC_SIZE];
    size_t word;
    size_t block;
} layout;

static const layout LAYOUTS[] = {
    [FR_SHA256] = {{'s', 'h', 'a', 3}, 4, SHA256_CBLOCK},
    [FR_SHA512] = {{'s', 'h', 'a', 7}, 8, SHA512_CBLOCK},
};

static void store_be(uint8_t *out, uint64_t value, size_t size)
{
    for (size_t i = size; i-- > 0; value >>= 8)
        out[i] = (uint8_t)value;
}

static uint64_t load_be(const uint8_t *in, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | in[i];
    return value;
}

static uint64_t get_word(const fr_digest *d, size_t i)
{
    return d->algorithm == FR_SHA256 ? d->ctx.sha256.h[i] : d->ctx.sha512.h[i];
}

static void set_word(fr_digest *d, size_t i, uint64_t value)
{
    if (d->algorithm == FR_SHA256)
        d->ctx.sha256.h[i] = (SHA_LONG)value;
    else
        d->ctx.sha512.h[i] = value;
}

static const uint8_t *pending(const fr_digest *d)
{
    return d->algorithm == FR_SHA256 ? (const uint8_t *)d->ctx.sha256.data : d->ctx.sha512.u.p;
}

/* Libcrypto counts bits, in two halves of a word each. */
static void set_length(fr_digest *d, uint64_t length)
{
    uint64_t bits = length << 3;

    d->length = length;
    if (d->algorithm == FR_SHA256) {
        d->ctx.sha256.Nl = (SHA_LONG)bits;
        d->ctx.sha256.Nh = (SHA_LONG)(bits >> 32);
    } else {
        d->ctx.sha512.Nl = bits;
        d->ctx.sha512.Nh = 0;
    }
}

static void set_pending(fr_digest *d, const uint8_t *data, size_t size)
{
    if (d->algorithm == FR_SHA256) {
        memcpy(d->ctx.sha256.data, data, size);
        d->ctx.sha256.num = (unsigned int)size;
    } else {
        memcpy(d->ctx.sha512.u.p, data, size);
        d->ctx.sha512.num = (unsigned int)size;
    }
}

size_t fr_digest_size(fr_algorithm algorithm)
{
    return WORDS * LAYOUTS[algorithm].word;
}

size_t fr_digest_state_size(fr_algorithm algorithm)
{
    const layout *l = &LAYOUTS[algorithm];

    return MAGIC_SIZE + WORDS * l->word + l->block + LENGTH_SIZE;
}

void fr_digest_init(fr_digest *d, fr_algorithm algorithm)
{
    memset(d, 0, sizeof *d);
    d->algorithm = algorithm;
    if (algorithm == FR_SHA256)
        SHA256_Init(&d->ctx.sha256);
    else
        SHA512_Init(&d->ctx.sha512);
}

int fr_digest_update(fr_digest *d, const void *data, size_t size)
{
    if (size > FR_DIGEST_MAX_LENGTH - d->length)
        return -1;
    if (size == 0)
        return 0;
    if (d->algorithm == FR_SHA256)
        SHA256_Update(&d->ctx.sha256, data, size);
    else
        SHA512_Update(&d->ctx.sha512, data, size);
    d->length += size;
    return 0;
}

void fr_digest_value(const fr_digest *d, uint8_t *out)
{
    fr_digest copy = *d;

    if (copy.algorithm == FR_SHA256)
        SHA256_Final(out, &copy.ctx.sha256);
    else
        SHA512_Final(out, &copy.ctx.sha512);
}

void fr_digest_export(const fr_digest *d, uint8_t *out)
{
    const layout *l = &LAYOUTS[d->algorithm];
    size_t held = (size_t)(d->length % l->block);

    memcpy(out, l->magic, MAGIC_SIZE);
    out += MAGIC_SIZE;
    for (size_t i = 0; i < WORDS; i++, out += l->word)
        store_be(out, get_word(d, i), l->word);
    memcpy(out, pending(d), held);
    memset(out + held, 0, l->block - held);
    store_be(out + l->block, d->length, LENGTH_SIZE);
}

/* Whether the words are those of a digest that has not compressed a block. */
static int words_are_initial(const fr_digest *d)
{
    fr_digest fresh;

    fr_digest_init(&fresh, d->algorithm);
    for (size_t i = 0; i < WORDS; i++)
        if (get_word(d, i) != get_word(&fresh, i))
            return 0;
    return 1;
}

static int all_zero(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] != 0)
            return 0;
    return 1;
}

int fr_digest_restore(fr_digest *d, fr_algorithm algorithm, const uint8_t *state, size_t size)
{
    const layout *l = &LAYOUTS[algorithm];
    fr_digest read;

    if (size != fr_digest_state_size(algorithm) || memcmp(state, l->magic, MAGIC_SIZE) != 0)
        return -1;
    fr_digest_init(&read, algorithm);
    state += MAGIC_SIZE;
    for (size_t i = 0; i < WORDS; i++, state += l->word)
        set_word(&read, i, load_be(state, l->word));

    uint64_t length = load_be(state + l->block, LENGTH_SIZE);
    size_t held = (size_t)(length % l->block);
    if (length > FR_DIGEST_MAX_LENGTH || !all_zero(state + held, l->block - held))
        return -1;
    if (length < l->block && !words_are_initial(&read))
        return -1;
    set_length(&read, length);
    set_pending(&read, state, held);
    *d = read;
    return 0;
}
