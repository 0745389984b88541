/* The C digest under sanitizers: every buffer here is exactly as large as the contract says. */
#include "digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what) check((what), #what, __LINE__)

static void check(int holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "line %d: %s does not hold\n", line, what);
        exit(1);
    }
}

/* A copy on the heap, so that one byte read too many is seen. */
static uint8_t *copied(const void *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    CHECK(copy != NULL);
    if (size != 0)
        memcpy(copy, data, size);
    return copy;
}

static void check_value(const fr_digest *d, const uint8_t *expected)
{
    size_t size = fr_digest_size(d->algorithm);
    uint8_t *value = malloc(size);
    CHECK(value != NULL);
    fr_digest_value(d, value);
    CHECK(memcmp(value, expected, size) == 0);
    free(value);
}

static uint8_t *exported(const fr_digest *d)
{
    uint8_t *state = malloc(fr_digest_state_size(d->algorithm));
    CHECK(state != NULL);
    fr_digest_export(d, state);
    return state;
}

static void test_abc_has_its_published_digest(void)
{
    static const uint8_t start[2][4] = {{0xba, 0x78, 0x16, 0xbf}, {0xdd, 0xaf, 0x35, 0xa1}};
    for (int a = FR_SHA256; a <= FR_SHA512; a++) {
        fr_digest d;
        uint8_t value[FR_DIGEST_MAX_SIZE];
        fr_digest_init(&d, (fr_algorithm)a);
        CHECK(fr_digest_update(&d, "abc", 3) == 0);
        fr_digest_value(&d, value);
        CHECK(memcmp(value, start[a], 4) == 0);
    }
}

static void test_sizes_are_those_of_the_header(void)
{
    CHECK(fr_digest_size(FR_SHA256) == 32 && fr_digest_state_size(FR_SHA256) == 108);
    CHECK(fr_digest_size(FR_SHA512) == FR_DIGEST_MAX_SIZE);
    CHECK(fr_digest_state_size(FR_SHA512) == FR_DIGEST_MAX_STATE);
}

/* Every first part up to two blocks and a bit, from an address of every alignment. */
static void test_every_split_gives_the_digest_of_the_whole(fr_algorithm algorithm)
{
    enum { SIZE = 300 };
    uint8_t data[SIZE], whole[FR_DIGEST_MAX_SIZE];
    for (int i = 0; i < SIZE; i++)
        data[i] = (uint8_t)(i * 7 + 1);
    if (algorithm == FR_SHA256)
        SHA256(data, SIZE, whole);
    else
        SHA512(data, SIZE, whole);

    for (size_t at = 0; at <= SIZE; at++) {
        fr_digest d, resumed;
        uint8_t *first = copied(data, at), *rest = copied(data + at, SIZE - at);
        fr_digest_init(&d, algorithm);
        CHECK(fr_digest_update(&d, first, at) == 0);
        uint8_t *state = exported(&d);
        memset(&resumed, 0xee, sizeof resumed);
        CHECK(fr_digest_restore(&resumed, algorithm, state, fr_digest_state_size(algorithm)) == 0);
        CHECK(resumed.length == at);
        CHECK(fr_digest_update(&resumed, rest, SIZE - at) == 0);
        check_value(&resumed, whole);
        free(first), free(rest), free(state);
    }
}

static void test_no_bytes_may_be_null(void)
{
    fr_digest d;
    fr_digest_init(&d, FR_SHA256);
    CHECK(fr_digest_update(&d, NULL, 0) == 0 && d.length == 0);
}

static void test_length_stops_at_the_limit(fr_algorithm algorithm)
{
    fr_digest d, before;
    fr_digest_init(&d, algorithm);
    d.length = FR_DIGEST_MAX_LENGTH - 2;
    before = d;
    CHECK(fr_digest_update(&d, "abc", 3) == -1);
    CHECK(fr_digest_update(&d, "abc", SIZE_MAX) == -1);
    CHECK(memcmp(&d, &before, sizeof d) == 0);
    CHECK(fr_digest_update(&d, "ab", 2) == 0 && d.length == FR_DIGEST_MAX_LENGTH);
}

/* Truncated at every byte and damaged at every byte: refused, or a state that exports the
 * same bytes; never a read or write outside. */
static void test_restore_survives_damage(fr_algorithm algorithm)
{
    size_t size = fr_digest_state_size(algorithm);
    fr_digest d, restored;
    fr_digest_init(&d, algorithm);
    CHECK(fr_digest_update(&d, "held bytes", 10) == 0);
    uint8_t *state = exported(&d);

    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = copied(state, cut);
        restored = d;
        CHECK(fr_digest_restore(&restored, algorithm, part, cut) == -1);
        CHECK(memcmp(&restored, &d, sizeof d) == 0);
        free(part);
    }
    for (size_t at = 0; at < size * 8; at++) {
        uint8_t *damaged = copied(state, size);
        damaged[at / 8] ^= (uint8_t)(1u << at % 8);
        if (fr_digest_restore(&restored, algorithm, damaged, size) == 0) {
            uint8_t *again = exported(&restored), value[FR_DIGEST_MAX_SIZE];
            CHECK(memcmp(again, damaged, size) == 0);
            CHECK(fr_digest_update(&restored, state, size) == 0);
            fr_digest_value(&restored, value);
            free(again);
        }
        free(damaged);
    }
    free(state);
}

int main(void)
{
    test_abc_has_its_published_digest();
    test_sizes_are_those_of_the_header();
    test_no_bytes_may_be_null();
    for (int a = FR_SHA256; a <= FR_SHA512; a++) {
        test_every_split_gives_the_digest_of_the_whole((fr_algorithm)a);
        test_length_stops_at_the_limit((fr_algorithm)a);
        test_restore_survives_damage((fr_algorithm)a);
    }
    puts("ok");
    return 0;
}
