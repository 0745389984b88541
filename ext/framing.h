/*
 * Where the body of a request ends: after an announced length, or by its chunks
 * (RFC 9112, 7.1; extensions and trailers are bounded, checked for form, and dropped).
 *
 * A fr_framing is a plain value that is fed what arrives, split anywhere. Nothing here
 * allocates, blocks or keeps a reference to its arguments.
 */
#ifndef FASTREG_FRAMING_H
#define FASTREG_FRAMING_H

#include <stddef.h>
#include <stdint.h>

#define FR_MAX_CHUNK_LINE 1024 /* bytes before its CRLF, extensions included */
#define FR_MAX_TRAILERS 8192   /* bytes of all of them, with their CRLFs */

typedef struct {
    uint64_t left;     /* bytes of data that come next */
    const char *fault; /* what is wrong with the framing; NULL while nothing is */
    uint32_t room;     /* bytes that the line, or the trailers, may still take */
    uint8_t place;
    uint8_t digits; /* of the chunk's size */
    uint8_t is_chunked;
} fr_framing;

void fr_framing_sized(fr_framing *f, uint64_t length);
void fr_framing_chunked(fr_framing *f);

/* Whether the body has come to its end. */
int fr_framing_is_over(const fr_framing *f);

/* How many bytes can be received without taking any from behind the body, at most `max`. */
size_t fr_framing_reach(const fr_framing *f, size_t max);

/*
 * Leave of the `size` bytes at `data` those that are the body's data, moved together at the
 * front; return how many. `used` is how many bytes were consumed: all of them, but for what
 * follows the end of the body or a fault. After a fault nothing more is consumed.
 */
size_t fr_framing_decode(fr_framing *f, uint8_t *data, size_t size, size_t *used);

#endif
