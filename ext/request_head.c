#include "request_head.h"

#include <string.h>

enum {
    MAX_HEADERS = 64,
    MAX_TARGET = 900,
    MAX_NAMESPACE = 255,
    MAX_HOST = 255,
    MAX_AUTHORIZATION = 4096,
    MAX_LOGGED = 495,
    MAX_DIGITS = 18,
};

/* Classes of characters. */
enum {
    NAME = 1,      /* of a header's name: a token's (RFC 9110, 5.6.2) but `_` */
    WORD = 2,      /* of a path's segment, and of a namespace */
    HOST = 4,      /* of a host and port */
    ALGORITHM = 8, /* of a digest */
    HEX = 16,
    DIGIT = 32,
};

#define T NAME
#define P (WORD | HOST)
#define B HOST
#define U (NAME | WORD | HOST)
#define L (U | ALGORITHM)
#define X (L | HEX)
#define N (X | DIGIT)
static const uint8_t CLASSES[256] = {
    [0x20] = 0, T, 0, T, T, T, T, T, 0, 0, T, T, 0, U, U, 0, /*  !"#$%&'()*+,-./ */
    [0x30] = N, N, N, N, N, N, N, N, N, N, P, 0, 0, 0, 0, 0, /* 0123456789:;<=>? */
    [0x40] = 0, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, /* @ABCDEFGHIJKLMNO */
    [0x50] = U, U, U, U, U, U, U, U, U, U, U, B, 0, B, T, P, /* PQRSTUVWXYZ[\]^_ */
    [0x60] = T, X, X, X, X, X, X, L, L, L, L, L, L, L, L, L, /* `abcdefghijklmno */
    [0x70] = L, L, L, L, L, L, L, L, L, L, L, 0, T, 0, T, 0, /* pqrstuvwxyz{|}~  */
};
#undef T
#undef P
#undef B
#undef U
#undef L
#undef X
#undef N

typedef struct {
    const char *at;
    const char *end;
} input;

/* Every step below consumes what it recognises; PARTIAL is what it says at the end of the input. */
#define TRY(step)                            \
    do {                                     \
        fr_head_result result_ = (step);     \
        if (result_ != FR_HEAD_RECOGNISED)   \
            return result_;                  \
    } while (0)

static int is_of(const char *at, int class)
{
    return CLASSES[(unsigned char)*at] & class;
}

static fr_slice take(input *in, int class)
{
    const char *start = in->at, *at = start, *end = in->end;

    while (at < end && is_of(at, class))
        at++;
    in->at = at;
    return (fr_slice){start, (size_t)(at - start)};
}

static void skip_spaces(input *in)
{
    while (in->at < in->end && *in->at == ' ')
        in->at++;
}

/* The first in the lowest bits; compilers make it one instruction. */
static uint64_t load_eight(const char *at)
{
    const unsigned char *p = (const unsigned char *)at;

    return p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
           (uint64_t)p[7] << 56;
}

/* Eight bytes at a time: this is most of a head. */
static void skip_printable(input *in)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const char *at = in->at, *end = in->end;

    for (; end - at >= 8; at += 8) {
        uint64_t word = load_eight(at);
        /* The lowest high bit is that of the first byte below 0x20 or above 0x7e. */
        uint64_t odd = ((word - 0x20 * ones) | (word + ones)) & 0x80 * ones;
        if (odd) {
            in->at = at + __builtin_ctzll(odd) / 8;
            return;
        }
    }
    while (at < end && *at >= 0x20 && *at < 0x7f)
        at++;
    in->at = at;
}

static inline fr_head_result parse_literal(input *in, const char *text)
{
    size_t size = strlen(text), left = (size_t)(in->end - in->at);

    if (left < size)
        return memcmp(in->at, text, left) == 0 ? FR_HEAD_PARTIAL : FR_HEAD_OTHER;
    if (memcmp(in->at, text, size) != 0)
        return FR_HEAD_OTHER;
    in->at += size;
    return FR_HEAD_RECOGNISED;
}

/* 1 to `max` characters of the class, and something else behind them. */
static fr_head_result parse_run(input *in, int class, size_t max, fr_slice *run)
{
    *run = take(in, class);
    if (run->size > max)
        return FR_HEAD_OTHER;
    if (in->at == in->end)
        return FR_HEAD_PARTIAL;
    return run->size ? FR_HEAD_RECOGNISED : FR_HEAD_OTHER;
}

static fr_head_result parse_method(input *in, fr_method *method)
{
    fr_head_result result = parse_literal(in, "GET ");

    *method = FR_GET;
    if (result != FR_HEAD_OTHER)
        return result;
    *method = FR_HEAD;
    return parse_literal(in, "HEAD ");
}

static int is_dots(fr_slice segment)
{
    return segment.size <= 2 && memcmp(segment.data, "..", segment.size) == 0;
}

static fr_head_result parse_path(input *in)
{
    fr_slice segment;

    do {
        TRY(parse_literal(in, "/"));
        segment = take(in, WORD);
        if (in->at == in->end)
            return FR_HEAD_PARTIAL;
        if (segment.size ? is_dots(segment) : *in->at == '/')
            return FR_HEAD_OTHER;
    } while (*in->at == '/');
    return FR_HEAD_RECOGNISED;
}

static fr_head_result parse_query(input *in)
{
    fr_slice namespace;

    if (*in->at != '?')
        return FR_HEAD_RECOGNISED;
    TRY(parse_literal(in, "?ns="));
    return parse_run(in, WORD, MAX_NAMESPACE, &namespace);
}

static fr_head_result parse_target(input *in, fr_slice *target)
{
    const char *start = in->at;
    fr_head_result result = parse_path(in);

    if (result == FR_HEAD_RECOGNISED)
        result = parse_query(in);
    *target = (fr_slice){start, (size_t)(in->at - start)};
    return target->size > MAX_TARGET ? FR_HEAD_OTHER : result;
}

typedef enum {
    HARMLESS,
    REFUSED,
    HOST_HEADER,
    CONNECTION,
    AUTHORIZATION,
    IF_NONE_MATCH,
    RANGE,
    USER_AGENT,
    REFERER,
} header;

/* `text` is in lower case: letters and hyphens, so that no other token character passes. */
static inline int begins(fr_slice name, const char *text)
{
    size_t size = strlen(text);

    if (name.size < size)
        return 0;
    for (size_t i = 0; i < size; i++)
        if ((name.data[i] | 0x20) != text[i])
            return 0;
    return 1;
}

static inline int is(fr_slice name, const char *text)
{
    return name.size == strlen(text) && begins(name, text);
}

static header find_header(fr_slice name)
{
    switch (name.data[0] | 0x20) {
    case 'a':
        return is(name, "authorization") ? AUTHORIZATION : HARMLESS;
    case 'c':
        return is(name, "connection") ? CONNECTION : begins(name, "content-") ? REFUSED : HARMLESS;
    case 'e':
        return is(name, "expect") ? REFUSED : HARMLESS;
    case 'h':
        return is(name, "host") ? HOST_HEADER : HARMLESS;
    case 'i':
        return is(name, "if-none-match") ? IF_NONE_MATCH : begins(name, "if-") ? REFUSED : HARMLESS;
    case 'p':
        return begins(name, "proxy") ? REFUSED : HARMLESS;
    case 'r':
        return is(name, "range") ? RANGE : is(name, "referer") ? REFERER : HARMLESS;
    case 't':
        return is(name, "te") || is(name, "trailer") || is(name, "transfer-encoding") ? REFUSED
                                                                                      : HARMLESS;
    case 'u':
        return is(name, "user-agent") ? USER_AGENT : is(name, "upgrade") ? REFUSED : HARMLESS;
    default:
        return HARMLESS;
    }
}

/* A value that may hold spaces, not at its ends. */
static fr_head_result parse_text(input *in, size_t max, fr_slice *text)
{
    const char *start = in->at, *end;

    skip_printable(in);
    if ((size_t)(in->at - start) > max)
        return FR_HEAD_OTHER;
    if (in->at == in->end)
        return FR_HEAD_PARTIAL;
    for (end = in->at; end > start && end[-1] == ' ';)
        end--;
    *text = (fr_slice){start, (size_t)(end - start)};
    return text->size ? FR_HEAD_RECOGNISED : FR_HEAD_OTHER;
}

static fr_head_result parse_logged(input *in, fr_slice *text)
{
    TRY(parse_text(in, MAX_LOGGED, text));
    return memchr(text->data, '"', text->size) != NULL ? FR_HEAD_OTHER : FR_HEAD_RECOGNISED;
}

static fr_head_result parse_authorization(input *in, fr_slice *value)
{
    const char *at, *end;

    TRY(parse_text(in, MAX_AUTHORIZATION, value));
    end = value->data + value->size;
    for (at = value->data; (at = memchr(at, ' ', (size_t)(end - at))) != NULL; at++)
        if (at[1] == ' ')
            return FR_HEAD_OTHER;
    return FR_HEAD_RECOGNISED;
}

static fr_head_result parse_etag(input *in, fr_slice *value)
{
    const char *start = in->at;
    fr_slice part;

    TRY(parse_literal(in, "\""));
    TRY(parse_run(in, ALGORITHM, FR_MAX_HEAD, &part));
    TRY(parse_literal(in, ":"));
    TRY(parse_run(in, HEX, FR_MAX_HEAD, &part));
    TRY(parse_literal(in, "\""));
    *value = (fr_slice){start, (size_t)(in->at - start)};
    return FR_HEAD_RECOGNISED;
}

static fr_head_result parse_number(input *in, uint64_t *number)
{
    fr_slice digits;

    TRY(parse_run(in, DIGIT, MAX_DIGITS, &digits));
    *number = 0;
    for (size_t i = 0; i < digits.size; i++)
        *number = *number * 10 + (uint64_t)(digits.data[i] - '0');
    return FR_HEAD_RECOGNISED;
}

static fr_head_result parse_range(input *in, fr_request_head *head)
{
    if (head->method != FR_GET)
        return FR_HEAD_OTHER;
    TRY(parse_literal(in, "bytes="));
    TRY(parse_number(in, &head->range_first));
    TRY(parse_literal(in, "-"));
    head->has_range = 1;
    head->range_last = UINT64_MAX;
    if (in->at < in->end && is_of(in->at, DIGIT))
        TRY(parse_number(in, &head->range_last));
    return head->range_first <= head->range_last ? FR_HEAD_RECOGNISED : FR_HEAD_OTHER;
}

static fr_head_result parse_connection(input *in, int *closes)
{
    fr_slice option;

    TRY(parse_run(in, NAME, FR_MAX_HEAD, &option));
    *closes = is(option, "close");
    return *closes || is(option, "keep-alive") ? FR_HEAD_RECOGNISED : FR_HEAD_OTHER;
}

static fr_head_result parse_value(input *in, header which, fr_request_head *head)
{
    fr_slice host;

    switch (which) {
    case REFUSED:
        return FR_HEAD_OTHER;
    case HOST_HEADER:
        return parse_run(in, HOST, MAX_HOST, &host);
    case CONNECTION:
        return parse_connection(in, &head->closes);
    case AUTHORIZATION:
        return parse_authorization(in, &head->authorization);
    case IF_NONE_MATCH:
        return parse_etag(in, &head->if_none_match);
    case RANGE:
        return parse_range(in, head);
    case USER_AGENT:
        return parse_logged(in, &head->user_agent);
    case REFERER:
        return parse_logged(in, &head->referer);
    default:
        skip_printable(in);
        return FR_HEAD_RECOGNISED;
    }
}

static fr_head_result parse_header(input *in, fr_request_head *head, unsigned *seen)
{
    fr_slice name;

    TRY(parse_run(in, NAME, FR_MAX_HEAD, &name));
    TRY(parse_literal(in, ":"));
    header which = find_header(name);
    if (which != HARMLESS && (*seen & 1u << which))
        return FR_HEAD_OTHER;
    *seen |= 1u << which;
    skip_spaces(in);
    TRY(parse_value(in, which, head));
    skip_spaces(in);
    return parse_literal(in, "\r\n");
}

static fr_head_result parse_headers(input *in, fr_request_head *head)
{
    unsigned seen = 0;

    for (int count = 0;; count++) {
        if (in->at == in->end)
            return FR_HEAD_PARTIAL;
        if (*in->at == '\r')
            break;
        if (count == MAX_HEADERS)
            return FR_HEAD_OTHER;
        TRY(parse_header(in, head, &seen));
    }
    return seen & 1u << HOST_HEADER ? parse_literal(in, "\r\n") : FR_HEAD_OTHER;
}

static fr_head_result parse(input *in, fr_request_head *head)
{
    TRY(parse_method(in, &head->method));
    TRY(parse_target(in, &head->target));
    TRY(parse_literal(in, " HTTP/1.1\r\n"));
    return parse_headers(in, head);
}

fr_head_result fr_request_head_parse(const char *data, size_t size, fr_request_head *head,
                                     size_t *used)
{
    input in = {data, data + (size < FR_MAX_HEAD ? size : FR_MAX_HEAD)};

    memset(head, 0, sizeof *head);
    fr_head_result result = parse(&in, head);
    *used = (size_t)(in.at - data);
    return result == FR_HEAD_PARTIAL && size >= FR_MAX_HEAD ? FR_HEAD_OTHER : result;
}
