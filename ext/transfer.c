#define _GNU_SOURCE /* sync_file_range */
#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECEIVE_TURN ((uint64_t)1 << 20) /* bytes from the socket in one call */
#define POUR_TURN ((uint64_t)16 << 20)
#define FLUSH_SIZE ((uint64_t)2 << 20)
#define LARGE_CHUNK ((uint64_t)16 << 10)

enum {
    CHUNK_SEAM = 10, /* about what stands between two chunks */
    PATIENCE_MS = 2,         /* how long to wait for a client that is in full flow */
    MAX_WAITED_NS = 10000000 /* in one call: others may want the thread */
};

/* --- in */

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Return whether more has come before patience ended. */
static int wait_a_moment(fr_inflow *in)
{
    struct pollfd p = {.fd = in->socket, .events = POLLIN};
    uint64_t began = now_ns();
    int found = poll(&p, 1, PATIENCE_MS);

    in->waited_ns += now_ns() - began;
    return found > 0;
}

/* Take `size` bytes at most; return how many, or -1 with *stop saying why there are none. */
static ssize_t take_raw(fr_inflow *in, uint8_t *to, size_t size, fr_stop *stop)
{
    ssize_t count;

    do
        count = recv(in->socket, to, size, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count > 0) {
        in->received += (uint64_t)count;
        return count;
    }
    *stop = count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? FR_STOP_WAIT : FR_STOP_GONE;
    return -1;
}

/* Decode pending bytes into `to`; return how many bytes of data they gave. */
static size_t take_pending(fr_inflow *in, uint8_t *to, size_t size)
{
    size_t raw = in->pending_size < size ? in->pending_size : size;
    size_t used, count;

    memcpy(to, in->pending, raw);
    count = fr_framing_decode(&in->framing, to, raw, &used);
    in->pending += used;
    in->pending_size -= used;
    return count;
}

static void begin(fr_inflow *in)
{
    in->received = in->waited_ns = 0;
    in->rest = NULL;
    in->rest_size = 0;
}

/* How much to receive at once: the rest of a large chunk alone need not be moved. */
static size_t raw_size(const fr_framing *f, size_t max)
{
    size_t reach = fr_framing_reach(f, max);
    uint64_t chunk = f->left + CHUNK_SEAM;

    return f->is_chunked && f->left >= LARGE_CHUNK && chunk < reach ? (size_t)chunk : reach;
}

/*
 * Receive without waiting until `size` bytes of data are there, or `turn` bytes were taken
 * from the socket: tiny chunks can be a thousand times as long as what they carry.
 * Data is never longer than what it is decoded from, so no more is received than fits.
 */
static fr_stop fill(fr_inflow *in, uint64_t turn, uint8_t *to, size_t size, size_t *count)
{
    fr_framing *f = &in->framing;

    for (*count = 0; *count < size;) {
        uint8_t *here = to + *count;
        size_t wanted = raw_size(f, size - *count);

        if (fr_framing_is_over(f))
            return FR_STOP_OVER;
        if (f->fault)
            return FR_STOP_BAD;
        if (in->pending_size) {
            *count += take_pending(in, here, wanted);
            continue;
        }
        if (in->received >= turn)
            return FR_STOP_WAIT;
        fr_stop stop;
        size_t used;
        ssize_t raw = take_raw(in, here, wanted, &stop);
        if (raw < 0)
            return stop;
        size_t kept = fr_framing_decode(f, here, (size_t)raw, &used);
        *count += kept;
        in->rest = here + used;
        in->rest_size = (size_t)raw - used;
    }
    return fr_framing_is_over(f) ? FR_STOP_OVER : FR_STOP_FULL;
}

fr_stop fr_receive(fr_inflow *in, uint8_t *to, size_t size, size_t *count)
{
    begin(in);
    return fill(in, RECEIVE_TURN, to, size, count);
}

/* --- out */

static void flush_some(fr_sink *out)
{
#ifdef SYNC_FILE_RANGE_WRITE
    uint64_t size = out->size - out->flushed;

    if (size >= FLUSH_SIZE) {
        /* So that little is left when it must be durable. A failure is told then. */
        sync_file_range(out->fd, (off_t)out->flushed, (off_t)size, SYNC_FILE_RANGE_WRITE);
        out->flushed = out->size;
    }
#endif
}

/* Append the bytes; return how many were written. Fewer: `error` says why. */
static size_t append(fr_sink *out, const uint8_t *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t count = pwrite(out->fd, data + done, size - done, (off_t)out->size);
        if (count > 0) {
            done += (size_t)count;
            out->size += (uint64_t)count;
        } else if (count == 0 || errno != EINTR) {
            out->error = count == 0 ? ENOSPC : errno;
            break;
        }
    }
    flush_some(out);
    return done;
}

/* --- hashing: in place, or in a thread that takes the slots in their order */

typedef struct {
    fr_digest *digest;
    const uint8_t *room;
    size_t sizes[FR_SLOTS]; /* 0: the thread is to end */
    unsigned slot;          /* the one to be filled */
    int has_thread;
    sem_t filled, empty;
    pthread_t thread;
} hashing;

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        ; /* EINTR */
}

static void hash_slot(hashing *h, unsigned slot, size_t size)
{
    fr_digest_update(h->digest, h->room + slot * FR_SLOT_SIZE, size);
}

static void *hash_slots(void *argument)
{
    hashing *h = argument;

    for (unsigned slot = 0;; slot = (slot + 1) % FR_SLOTS) {
        wait_for(&h->filled);
        if (h->sizes[slot] == 0)
            return NULL;
        hash_slot(h, slot, h->sizes[slot]);
        sem_post(&h->empty);
    }
}

/* Return whether there is a thread; without one, hashing in place does as well. */
static int has_thread(hashing *h)
{
    if (!h->has_thread) {
        sem_init(&h->filled, 0, 0);
        sem_init(&h->empty, 0, FR_SLOTS - 1);
        h->has_thread = pthread_create(&h->thread, NULL, hash_slots, h) == 0;
    }
    return h->has_thread;
}

/* Hash what is in the current slot, and go on to the next if that takes time. */
static void hash(hashing *h, size_t size)
{
    if (h->digest == NULL || size == 0)
        return;
    if (size < FR_SLOT_SIZE && !h->has_thread) {
        hash_slot(h, h->slot, size);
    } else if (!has_thread(h)) {
        hash_slot(h, h->slot, size);
    } else {
        h->sizes[h->slot] = size;
        sem_post(&h->filled);
        h->slot = (h->slot + 1) % FR_SLOTS;
        wait_for(&h->empty);
    }
}

static void end_hashing(hashing *h)
{
    if (!h->has_thread)
        return;
    h->sizes[h->slot] = 0;
    sem_post(&h->filled);
    pthread_join(h->thread, NULL);
    sem_destroy(&h->filled);
    sem_destroy(&h->empty);
}

/* --- both */

static fr_stop fill_patiently(fr_inflow *in, uint8_t *to, size_t size, size_t *count)
{
    fr_stop stop;

    *count = 0;
    do {
        size_t more;
        stop = fill(in, POUR_TURN, to + *count, size - *count, &more);
        *count += more;
    } while (stop == FR_STOP_WAIT && in->received < POUR_TURN && in->waited_ns < MAX_WAITED_NS
             && wait_a_moment(in));
    return stop;
}

/* A slot is begun when those before it are full, so no more is used than what can come. */
size_t fr_pour_room(const fr_inflow *in, uint64_t max)
{
    size_t most = FR_SLOTS * FR_SLOT_SIZE;

    return fr_framing_reach(&in->framing, max < most ? (size_t)max : most);
}

fr_stop fr_pour(fr_inflow *in, fr_sink *out, uint64_t max, uint8_t *room)
{
    hashing h = {.digest = out->digest, .room = room};
    fr_stop stop = FR_STOP_FULL;

    begin(in);
    while (max > 0 && stop == FR_STOP_FULL) {
        uint8_t *slot = room + h.slot * FR_SLOT_SIZE;
        size_t size = max < FR_SLOT_SIZE ? (size_t)max : FR_SLOT_SIZE;
        size_t count, written;

        stop = fill_patiently(in, slot, size, &count);
        written = append(out, slot, count);
        hash(&h, written);
        if (written < count)
            stop = FR_STOP_STUCK;
        max -= written;
    }
    end_hashing(&h);
    return stop;
}
