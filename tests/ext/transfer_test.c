/* Bodies from socket pairs into memory and files, under sanitizers. */
#define _GNU_SOURCE
#include "transfer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUIRE(holds) \
    do { \
        if (!(holds)) { \
            fprintf(stderr, "line %d: %s\n", __LINE__, #holds); \
            exit(1); \
        } \
    } while (0)

#define MIB ((size_t)1 << 20)

/* --- a client, a file, and what both must agree on */

typedef struct {
    int server, client;
} link_pair;

static link_pair connected(void)
{
    int ends[2];

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    return (link_pair){ends[0], ends[1]};
}

static void disconnect(link_pair l)
{
    close(l.server);
    close(l.client);
}

static void send_all(int to, const void *data, size_t size)
{
    REQUIRE(write(to, data, size) == (ssize_t)size);
}

static uint8_t *noise(size_t size)
{
    uint8_t *data = malloc(size);
    uint32_t state = 1;

    for (size_t i = 0; i < size; i++) {
        state = state * 1664525 + 1013904223;
        data[i] = (uint8_t)(state >> 24);
    }
    return data;
}

/* `size` bytes in chunks of 1, 2, 4, ... bytes, and the end; returns the bytes of it all. */
static uint8_t *in_chunks(const uint8_t *data, size_t size, size_t *framed)
{
    uint8_t *out = malloc(size * 2 + 4096);
    size_t at = 0, chunk = 1;

    for (size_t done = 0; done < size; done += chunk, chunk = chunk < MIB ? chunk * 2 : 1) {
        chunk = chunk < size - done ? chunk : size - done;
        at += (size_t)sprintf((char *)out + at, "%zx;x=y\r\n", chunk);
        memcpy(out + at, data + done, chunk);
        at += chunk;
        memcpy(out + at, "\r\n", 2);
        at += 2;
    }
    memcpy(out + at, "0\r\nX-T: y\r\n\r\n", 13);
    *framed = at + 13;
    return out;
}

static fr_sink new_file(fr_digest *digest)
{
    char path[] = P_tmpdir "/transfer_test_XXXXXX";
    fr_sink out = {.fd = mkstemp(path), .digest = digest};

    REQUIRE(out.fd >= 0 && unlink(path) == 0);
    if (digest)
        fr_digest_init(digest, FR_SHA256);
    return out;
}

static void require_content(const fr_sink *out, const uint8_t *data, size_t size)
{
    uint8_t *there = malloc(size + 1), value[FR_DIGEST_MAX_SIZE], expected[FR_DIGEST_MAX_SIZE];
    fr_digest d;

    REQUIRE(out->size == size);
    REQUIRE(pread(out->fd, there, size + 1, 0) == (ssize_t)size);
    REQUIRE(memcmp(there, data, size) == 0);
    free(there);
    if (!out->digest)
        return;
    REQUIRE(out->digest->length == size);
    fr_digest_init(&d, FR_SHA256);
    fr_digest_update(&d, data, size);
    fr_digest_value(&d, expected);
    fr_digest_value(out->digest, value);
    REQUIRE(memcmp(value, expected, fr_digest_size(FR_SHA256)) == 0);
}

typedef struct {
    int to;
    const uint8_t *data;
    size_t size, piece;
    pthread_t thread;
} sender;

static void *send_pieces(void *argument)
{
    sender *s = argument;

    for (size_t at = 0, piece; at < s->size; at += piece) {
        piece = s->piece < s->size - at ? s->piece : s->size - at;
        for (size_t sent = 0; sent < piece;) {
            ssize_t count = write(s->to, s->data + at + sent, piece - sent);
            if (count < 0)
                return NULL; /* the test has ended the connection */
            sent += (size_t)count;
        }
    }
    return NULL;
}

static void start_sending(sender *s)
{
    REQUIRE(pthread_create(&s->thread, NULL, send_pieces, s) == 0);
}

/* Pour up to `max` bytes until something else than waiting is to be done. */
static fr_stop pour(fr_inflow *in, fr_sink *out, uint64_t max)
{
    uint64_t begun = out->size;
    fr_stop stop;

    do {
        uint64_t wanted = max - (out->size - begun);
        uint8_t *room = malloc(fr_pour_room(in, wanted));
        stop = fr_pour(in, out, wanted, room);
        free(room);
    } while (stop == FR_STOP_WAIT);
    return stop;
}

/* --- into memory */

static void check_a_byte_at_a_time(void)
{
    static const char raw[] = "3;x\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n";
    link_pair l = connected();
    fr_inflow in = {.socket = l.server};
    uint8_t data[8];
    size_t have = 0, count;

    fr_framing_chunked(&in.framing);
    for (size_t i = 0; i < strlen(raw); i++) {
        fr_stop stop = fr_receive(&in, data + have, sizeof data - have, &count);
        REQUIRE(stop == FR_STOP_WAIT && count == 0);
        send_all(l.client, raw + i, 1);
        stop = fr_receive(&in, data + have, sizeof data - have, &count);
        REQUIRE(stop == (i + 1 < strlen(raw) ? FR_STOP_WAIT : FR_STOP_OVER));
        have += count;
    }
    REQUIRE(have == 5 && memcmp(data, "abcde", 5) == 0);
    disconnect(l);
}

/* Bytes that came before, at every split, and what follows the body. */
static void check_pending_and_rest(void)
{
    static const char raw[] = "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET /";
    size_t size = strlen(raw);

    for (size_t split = 0; split <= size; split++) {
        link_pair l = connected();
        fr_inflow in = {.socket = l.server, .pending = (const uint8_t *)raw, .pending_size = split};
        uint8_t data[64];
        size_t count;

        fr_framing_chunked(&in.framing);
        send_all(l.client, raw + split, size - split);
        REQUIRE(fr_receive(&in, data, sizeof data, &count) == FR_STOP_OVER);
        REQUIRE(count == 5 && memcmp(data, "abcde", 5) == 0);
        REQUIRE(in.received == (in.rest_size || split < size - 5 ? size - split : 0));
        const uint8_t *rest = in.pending_size ? in.pending : in.rest;
        size_t rest_size = in.pending_size + in.rest_size;
        REQUIRE(rest_size == (split < size - 5 ? 5 : split - (size - 5)));
        REQUIRE(rest_size == 0 || memcmp(rest, "GET /", rest_size) == 0);
        REQUIRE(fr_receive(&in, data, sizeof data, &count) == FR_STOP_OVER && count == 0);
        disconnect(l);
    }
}

static void check_nothing_is_taken_from_behind_a_length(void)
{
    link_pair l = connected();
    fr_inflow in = {.socket = l.server};
    fr_sink out = new_file(NULL);
    uint8_t data[64];
    size_t count;

    fr_framing_sized(&in.framing, 5);
    send_all(l.client, "abcdeGET /", 10);
    REQUIRE(fr_receive(&in, data, 2, &count) == FR_STOP_FULL && count == 2);
    REQUIRE(pour(&in, &out, 99) == FR_STOP_OVER && in.rest_size == 0);
    require_content(&out, (const uint8_t *)"cde", 3);
    REQUIRE(read(l.server, data, sizeof data) == 5 && memcmp(data, "GET /", 5) == 0);
    close(out.fd);
    disconnect(l);
}

static void check_what_came_before_a_failure_comes_first(void)
{
    uint8_t data[64];
    size_t count;

    for (int is_gone = 0; is_gone < 2; is_gone++) {
        link_pair l = connected();
        fr_inflow in = {.socket = l.server};
        fr_framing_chunked(&in.framing);
        send_all(l.client, "3\r\nabcx", is_gone ? 6 : 7);
        if (is_gone)
            shutdown(l.client, SHUT_WR);
        fr_stop expected = is_gone ? FR_STOP_GONE : FR_STOP_BAD;
        REQUIRE(fr_receive(&in, data, sizeof data, &count) == expected && count == 3);
        REQUIRE(fr_receive(&in, data, sizeof data, &count) == expected && count == 0);
        disconnect(l);
    }
}

/* --- into files */

static void check_a_large_body(size_t size, size_t piece, int is_chunked, int is_hashed)
{
    link_pair l = connected();
    fr_inflow in = {.socket = l.server};
    fr_digest d;
    fr_sink out = new_file(is_hashed ? &d : NULL);
    uint8_t *data = noise(size);
    sender s = {.to = l.client, .data = data, .size = size, .piece = piece};

    fr_framing_sized(&in.framing, size);
    if (is_chunked) {
        fr_framing_chunked(&in.framing);
        s.data = in_chunks(data, size, &s.size);
    }
    start_sending(&s);
    REQUIRE(pour(&in, &out, UINT64_MAX) == FR_STOP_OVER);
    pthread_join(s.thread, NULL);
    require_content(&out, data, size);
    if (is_chunked)
        free((void *)(uintptr_t)s.data);
    free(data);
    close(out.fd);
    disconnect(l);
}

/* In pieces of odd lengths, which all end where they were told to. */
static void check_the_most_that_is_wanted(void)
{
    size_t size = 3 * MIB + 17, wanted = 1;
    link_pair l = connected();
    fr_inflow in = {.socket = l.server};
    fr_digest d;
    fr_sink out = new_file(&d);
    uint8_t *data = noise(size);
    sender s = {.to = l.client, .data = data, .size = size, .piece = 70001};

    fr_framing_sized(&in.framing, size);
    start_sending(&s);
    for (size_t have = 0; have < size; have += wanted, wanted = wanted * 3 + 1) {
        wanted = wanted < size - have ? wanted : size - have;
        fr_stop stop = pour(&in, &out, wanted);
        REQUIRE(stop == (have + wanted < size ? FR_STOP_FULL : FR_STOP_OVER));
        REQUIRE(out.size == have + wanted);
    }
    pthread_join(s.thread, NULL);
    require_content(&out, data, size);
    free(data);
    close(out.fd);
    disconnect(l);
}

/* A file that takes `limit` bytes: the last write that succeeds is a short one. */
static void check_a_full_disk(size_t limit)
{
    size_t size = 3 * MIB;
    link_pair l = connected();
    fr_inflow in = {.socket = l.server};
    fr_digest d;
    fr_sink out = new_file(&d);
    uint8_t *data = noise(size);
    sender s = {.to = l.client, .data = data, .size = size, .piece = size};
    struct rlimit before, during;

    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    during = (struct rlimit){limit, before.rlim_max};
    fr_framing_sized(&in.framing, size);
    start_sending(&s);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &during) == 0);
    fr_stop stop = pour(&in, &out, UINT64_MAX);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
    REQUIRE(stop == FR_STOP_STUCK && out.error == EFBIG);
    shutdown(l.server, SHUT_RD);
    pthread_join(s.thread, NULL);
    require_content(&out, data, limit);
    free(data);
    close(out.fd);
    disconnect(l);
}

static void check_a_pause_and_an_end(void)
{
    link_pair l = connected();
    fr_inflow in = {.socket = l.server};
    fr_digest d;
    fr_sink out = new_file(&d);
    uint8_t *room = malloc(99);

    fr_framing_sized(&in.framing, 99);
    REQUIRE(fr_pour(&in, &out, 99, room) == FR_STOP_WAIT && out.size == 0);
    REQUIRE(in.waited_ns > 0 && in.received == 0);
    send_all(l.client, "abc", 3);
    REQUIRE(fr_pour(&in, &out, 99, room) == FR_STOP_WAIT && in.received == 3);
    shutdown(l.client, SHUT_WR);
    REQUIRE(fr_pour(&in, &out, 99, room) == FR_STOP_GONE);
    require_content(&out, (const uint8_t *)"abc", 3);
    free(room);
    close(out.fd);
    disconnect(l);
}

static void check_a_file_that_cannot_be_written(void)
{
    link_pair l = connected();
    fr_inflow in = {.socket = l.server};
    fr_digest d;
    fr_sink out = new_file(&d);

    close(out.fd);
    out.fd = -1;
    fr_framing_sized(&in.framing, 3);
    send_all(l.client, "abc", 3);
    REQUIRE(pour(&in, &out, 99) == FR_STOP_STUCK && out.error == EBADF);
    REQUIRE(out.size == 0 && d.length == 0);
    disconnect(l);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    check_a_byte_at_a_time();
    check_pending_and_rest();
    check_nothing_is_taken_from_behind_a_length();
    check_what_came_before_a_failure_comes_first();
    for (int is_chunked = 0; is_chunked < 2; is_chunked++) {
        check_a_large_body(1, 1, is_chunked, 1);
        check_a_large_body(FR_SLOT_SIZE, 1000, is_chunked, 1);
        for (size_t slots = 1; slots <= FR_SLOTS + 1; slots++) {
            check_a_large_body(FR_SLOT_SIZE * slots - 1, 100000, is_chunked, 1);
            check_a_large_body(FR_SLOT_SIZE * slots + 1, 100000, is_chunked, 1);
        }
        check_a_large_body(20 * MIB + 3, MIB, is_chunked, 1);
        check_a_large_body(2 * MIB + 3, MIB, is_chunked, 0);
    }
    check_the_most_that_is_wanted();
    check_a_full_disk(0);
    check_a_full_disk(1000);
    check_a_full_disk(2 * MIB + 777);
    check_a_pause_and_an_end();
    check_a_file_that_cannot_be_written();
    puts("ok");
    return 0;
}
