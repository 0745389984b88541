/* Any bytes as a stored state: refused with the digest unchanged, or a state that is stored as
 * the same bytes and goes on. */
#include "digest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *state, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

static void check_restored(fr_digest *d, const uint8_t *state, size_t size)
{
    uint8_t stored[FR_DIGEST_MAX_STATE], value[FR_DIGEST_MAX_SIZE];
    uint64_t length = d->length;

    require(size == fr_digest_state_size(d->algorithm) && length <= FR_DIGEST_MAX_LENGTH);
    fr_digest_export(d, stored);
    require(memcmp(stored, state, size) == 0);
    int refused = fr_digest_update(d, state, size);
    require(refused == (FR_DIGEST_MAX_LENGTH - length < size ? -1 : 0));
    require(d->length == (refused ? length : length + size));
    fr_digest_value(d, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *state, size_t size)
{
    for (int a = FR_SHA256; a <= FR_SHA512; a++) {
        fr_digest d, before;
        fr_digest_init(&d, (fr_algorithm)a);
        before = d;
        if (fr_digest_restore(&d, (fr_algorithm)a, state, size) == 0)
            check_restored(&d, state, size);
        else
            require(memcmp(&d, &before, sizeof d) == 0);
    }
    return 0;
}
