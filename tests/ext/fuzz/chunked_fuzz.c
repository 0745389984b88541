/* Any bytes as a body in chunks. The first says where they are split; however that is, they
 * give the same data, end at the same byte and in the same way. */
#include "framing.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

typedef struct {
    fr_framing framing;
    uint8_t *data;
    size_t length, used;
} decoding;

static void require(int holds)
{
    if (!holds)
        abort();
}

static void decode_piece(decoding *d, const uint8_t *raw, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    size_t used, count;

    if (size)
        memcpy(copy, raw, size);
    count = fr_framing_decode(&d->framing, copy, size, &used);
    require(count <= used && used <= size);
    require(used == size || d->framing.fault || fr_framing_is_over(&d->framing));
    if (count)
        memcpy(d->data + d->length, copy, count);
    d->length += count;
    d->used += used;
    free(copy);
}

static decoding decode(const uint8_t *raw, size_t size, size_t piece)
{
    decoding d = {.data = malloc(size ? size : 1)};

    fr_framing_chunked(&d.framing);
    for (size_t at = 0; at < size; at += piece) {
        size_t left = size - at;
        decode_piece(&d, raw + at, piece < left ? piece : left);
    }
    return d;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size == 0)
        return 0;
    decoding whole = decode(input + 1, size - 1, size);
    decoding split = decode(input + 1, size - 1, (size_t)input[0] + 1);

    require(whole.length == split.length && whole.used == split.used);
    require(memcmp(whole.data, split.data, whole.length) == 0);
    require(whole.framing.fault == split.framing.fault);
    require(whole.framing.left == split.framing.left);
    require(fr_framing_is_over(&whole.framing) == fr_framing_is_over(&split.framing));
    free(whole.data);
    free(split.data);
    return 0;
}
