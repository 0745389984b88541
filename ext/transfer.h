/*
 * What arrives on a socket goes to memory, or is written to a file and hashed.
 *
 * Nothing here allocates or keeps a reference to its arguments. None of the structs has a
 * lock: one thread at a time. fr_pour starts a thread of its own for the hashing where
 * there is enough of it, and ends it before it returns.
 */
#ifndef FASTREG_TRANSFER_H
#define FASTREG_TRANSFER_H

#include "digest.h"
#include "framing.h"

#define FR_SLOT_SIZE ((size_t)512 << 10) /* stays in the cache from recv to hash to pwrite */
#define FR_SLOTS 4

typedef enum {
    FR_STOP_FULL, /* as much as was asked for */
    FR_STOP_WAIT, /* nothing more is there at the moment */
    FR_STOP_OVER, /* the body has come to its end */
    FR_STOP_GONE, /* the client left, or its connection broke */
    FR_STOP_BAD,  /* the framing is wrong: `framing.fault` */
    FR_STOP_STUCK /* the file takes no more: `error` of the sink */
} fr_stop;

/* A body on its way in. */
typedef struct {
    int socket;
    fr_framing framing;
    const uint8_t *pending; /* bytes that came before, and belong in front of the socket's */
    size_t pending_size;
    /* Of the last call: */
    uint64_t received;  /* bytes taken from the socket */
    uint64_t waited_ns; /* time spent waiting for it */
    const uint8_t *rest; /* bytes taken from it that are not the body's, in the given room */
    size_t rest_size;
} fr_inflow;

/* The file that a body goes to, and the digest of what is in it. */
typedef struct {
    int fd;
    uint64_t size;     /* of the file; the next byte is written here */
    uint64_t flushed;  /* up to where writing to the disk was begun */
    fr_digest *digest; /* of the first `size` bytes, or NULL */
    int error;         /* errno of the write that failed, or 0 */
} fr_sink;

/*
 * Receive up to `size` bytes of data into `to`, without waiting; `count` is how many came,
 * whatever the outcome.
 */
fr_stop fr_receive(fr_inflow *in, uint8_t *to, size_t size, size_t *count);

/* How many bytes of room a call of fr_pour for `max` bytes of data needs. */
size_t fr_pour_room(const fr_inflow *in, uint64_t max);

/*
 * Receive up to `max` bytes of data, append them to the file and hash what was written;
 * `out->size` tells how far it came, whatever the outcome. The digest has exactly the bytes
 * that were written. Waits for the client for milliseconds only, for the disk as long as
 * it takes. The file's bytes are on their way to the disk, but not durable.
 *
 * `in->rest` may be in the `room`.
 */
fr_stop fr_pour(fr_inflow *in, fr_sink *out, uint64_t max, uint8_t *room);

#endif
