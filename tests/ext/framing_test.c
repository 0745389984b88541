/* The framing of bodies under sanitizers: every sample is a copy of exactly its bytes, whole
 * and split in two at every byte, and byte by byte. */
#include "framing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GOES_ON, OVER, FAULTY };

typedef struct {
    const char *raw;
    const char *data;
    int end;
    size_t unused; /* bytes behind the end of the body */
} sample;

static const sample CHUNKED[] = {
    {"0\r\n\r\n", "", OVER, 0},
    {"5\r\nabcde\r\n0\r\n\r\n", "abcde", OVER, 0},
    {"3\r\nabc\r\n2\r\nde\r\n000\r\n\r\nGET /", "abcde", OVER, 5},
    {"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", OVER, 0},
    {"000000000000001\r\na\r\n0\r\n\r\n", "a", OVER, 0},
    {"1;\r\na\r\n0;x=\"y\";z\t\xff\r\n\r\n", "a", OVER, 0},
    {"1 \t \r\na\r\n0 \t;x\r\n\r\n", "a", OVER, 0},
    {"0\r\nX-A: b\r\nY:\r\n!#$%&'*+-.^_`|~09azAZ:\t\x80\r\n\r\n\r\n", "", OVER, 2},
    {"2\r\n\r\n\r\n0\r\n\r\n", "\r\n", OVER, 0},
    {"", "", GOES_ON, 0},
    {"5\r\nab", "ab", GOES_ON, 0},
    {"5\r\nabcde", "abcde", GOES_ON, 0},
    {"fffffffffffffff\r\nabc", "abc", GOES_ON, 0},
    {"0\r\n\r", "", GOES_ON, 0},
    {"0\r\nX: y\r\n", "", GOES_ON, 0},
    {"\r\n", "", FAULTY, 0},
    {"g\r\n", "", FAULTY, 0},
    {" 1\r\na", "", FAULTY, 0},
    {"-1\r\na", "", FAULTY, 0},
    {"+1\r\na", "", FAULTY, 0},
    {"0x1\r\na", "", FAULTY, 0},
    {"1_0\r\na", "", FAULTY, 0},
    {";x\r\n", "", FAULTY, 0},
    {"1\na\r\n", "", FAULTY, 0},
    {"1\r\r\na\r\n", "", FAULTY, 0},
    {"1 x\r\na", "", FAULTY, 0},
    {"1 1\r\na", "", FAULTY, 0},
    {"1;a\nb\r\n", "", FAULTY, 0},
    {"1;a\rb\r\n", "", FAULTY, 0},
    {"1;\x7f\r\n", "", FAULTY, 0},
    {"1;\x01\r\n", "", FAULTY, 0},
    {"0000000000000000\r\n\r\n", "", FAULTY, 0},
    {"1000000000000000\r\n", "", FAULTY, 0},
    {"1\r\nab\r\n", "a", FAULTY, 0},
    {"1\r\na\n", "a", FAULTY, 0},
    {"1\r\na\r\r\n", "a", FAULTY, 0},
    {"2\r\nabxyz\r\n", "ab", FAULTY, 0},
    {"5\r\nabcde\r\nxyz\r\n", "abcde", FAULTY, 0},
    {"0\r\nX\r\n\r\n", "", FAULTY, 0},
    {"0\r\n: y\r\n\r\n", "", FAULTY, 0},
    {"0\r\nX : y\r\n\r\n", "", FAULTY, 0},
    {"0\r\n X: y\r\n\r\n", "", FAULTY, 0},
    {"0\r\nX: y\n\r\n", "", FAULTY, 0},
    {"0\r\nX: y\rz\r\n\r\n", "", FAULTY, 0},
    {"0\r\nX: y\x7f\r\n\r\n", "", FAULTY, 0},
    {"0\r\n\rx", "", FAULTY, 0},
    {"0\r\nX\x80: y\r\n\r\n", "", FAULTY, 0},
};

static void fail(const char *what, const char *raw, size_t split)
{
    fprintf(stderr, "%s: %s (split at %zu)\n", what, raw, split);
    exit(1);
}

static int end_of(const fr_framing *f)
{
    return f->fault ? FAULTY : fr_framing_is_over(f) ? OVER : GOES_ON;
}

/* Decode `size` bytes in place of a copy, and append what they give; return what is unused. */
static size_t feed(fr_framing *f, const char *raw, size_t size, char *data, size_t *length)
{
    size_t used;
    uint8_t *copy = malloc(size ? size : 1);

    memcpy(copy, raw, size);
    size_t count = fr_framing_decode(f, copy, size, &used);
    memcpy(data + *length, copy, count);
    *length += count;
    free(copy);
    return size - used;
}

static void check(const sample *s, size_t size, size_t piece, size_t split)
{
    fr_framing f;
    char *data = malloc(size + 1);
    size_t length = 0, unused = 0;

    fr_framing_chunked(&f);
    for (size_t at = 0; at < size;) {
        size_t end = at < split ? split : at + piece;
        end = end < size ? end : size;
        unused += feed(&f, s->raw + at, end - at, data, &length);
        at = end;
    }
    if (end_of(&f) != s->end)
        fail("ends otherwise", s->raw, split);
    if (length != strlen(s->data) || memcmp(data, s->data, length) != 0)
        fail("gives other data", s->raw, split);
    if (s->end == OVER && unused != s->unused)
        fail("ends elsewhere", s->raw, split);
    free(data);
}

static void check_however_split(const sample *s)
{
    size_t size = strlen(s->raw);

    for (size_t split = 0; split <= size; split++)
        check(s, size, size, split);
    check(s, size, 1, 0);
}

/* A last chunk with `extension` bytes in its line, and `trailers` bytes of trailer lines. */
static int end_of_long(size_t extension, size_t trailers)
{
    fr_framing f;
    size_t size = extension + trailers + 16, used;
    char *raw = malloc(size);
    size_t at = 0;

    raw[at++] = '0';
    raw[at++] = ';';
    memset(raw + at, 'x', extension - 2);
    at += extension - 2;
    memcpy(raw + at, "\r\n", 2);
    at += 2;
    if (trailers) {
        memset(raw + at, 'x', trailers);
        raw[at + 1] = ':';
        memcpy(raw + at + trailers - 2, "\r\n", 2);
        at += trailers;
    }
    memcpy(raw + at, "\r\n", 2);
    at += 2;
    fr_framing_chunked(&f);
    fr_framing_decode(&f, (uint8_t *)raw, at, &used);
    free(raw);
    return end_of(&f);
}

static void check_limits(void)
{
    if (end_of_long(FR_MAX_CHUNK_LINE, 0) != OVER)
        fail("refused", "the longest line", 0);
    if (end_of_long(FR_MAX_CHUNK_LINE + 1, 0) != FAULTY)
        fail("taken", "a line that is too long", 0);
    if (end_of_long(2, FR_MAX_TRAILERS) != OVER || end_of_long(2, FR_MAX_TRAILERS + 2) != OVER)
        fail("refused", "the longest trailer", 0);
    if (end_of_long(2, FR_MAX_TRAILERS + 3) != FAULTY)
        fail("taken", "a trailer that is too long", 0);
}

static void check_sized(void)
{
    fr_framing f;
    uint8_t data[] = "abcdefgh";
    size_t used;

    fr_framing_sized(&f, 0);
    if (!fr_framing_is_over(&f) || fr_framing_decode(&f, data, 8, &used) != 0 || used != 0)
        fail("takes something", "no body", 0);
    fr_framing_sized(&f, 5);
    if (fr_framing_reach(&f, 9) != 5 || fr_framing_reach(&f, 3) != 3)
        fail("reaches elsewhere", "five bytes", 0);
    if (fr_framing_decode(&f, data, 3, &used) != 3 || used != 3 || f.left != 2)
        fail("takes otherwise", "three of five bytes", 0);
    if (fr_framing_decode(&f, data + 3, 5, &used) != 2 || used != 2 || !fr_framing_is_over(&f))
        fail("takes otherwise", "the rest of five bytes", 0);
    if (memcmp(data, "abcdefgh", 8) != 0)
        fail("changes", "what needs no decoding", 0);
}

int main(void)
{
    for (size_t i = 0; i < sizeof CHUNKED / sizeof *CHUNKED; i++)
        check_however_split(&CHUNKED[i]);
    check_limits();
    check_sized();
    puts("ok");
    return 0;
}
