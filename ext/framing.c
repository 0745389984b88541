#include "framing.h"

#include <string.h>

enum {
    IN_DATA,
    AT_DATA_CR,
    AT_DATA_LF,
    IN_SIZE,
    IN_BLANK, /* between the size and the extensions */
    IN_EXTENSION,
    AT_LINE_LF,
    AT_TRAILER,
    IN_TRAILER_NAME,
    IN_TRAILER_VALUE,
    AT_TRAILER_LF,
    AT_END_LF,
    AT_END
};

enum { MAX_DIGITS = 15 }; /* a size that no file has, and that 64 bits hold */

static const char TOO_LONG_CHUNK[] = "a chunk is longer than announced";
static const char BAD_SIZE[] = "the size of a chunk is not a hexadecimal number";
static const char BAD_TRAILER[] = "a trailer is not a header line";
static const char LONG_LINE[] = "a line of the chunked framing is too long";

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 9110, 5.6.2 */
static int is_token(uint8_t c)
{
    uint8_t lower = c | 0x20;

    return (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z')
        || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static int is_text(uint8_t c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

void fr_framing_sized(fr_framing *f, uint64_t length)
{
    *f = (fr_framing){.left = length, .place = length ? IN_DATA : AT_END};
}

static void begin_line(fr_framing *f)
{
    f->place = IN_SIZE;
    f->digits = 0;
    f->left = 0;
    f->room = FR_MAX_CHUNK_LINE;
}

void fr_framing_chunked(fr_framing *f)
{
    *f = (fr_framing){.is_chunked = 1};
    begin_line(f);
}

int fr_framing_is_over(const fr_framing *f)
{
    return f->place == AT_END;
}

size_t fr_framing_reach(const fr_framing *f, size_t max)
{
    return f->is_chunked || f->left > max ? max : (size_t)f->left;
}

/* Go to `place` if `c` is what must stand here. */
static void expect(fr_framing *f, uint8_t c, uint8_t wanted, uint8_t place, const char *fault)
{
    if (c == wanted)
        f->place = place;
    else
        f->fault = fault;
}

static void take_size(fr_framing *f, uint8_t c)
{
    int value = hex_value(c);

    if (value >= 0 && f->digits < MAX_DIGITS) {
        f->left = f->left << 4 | (unsigned)value;
        f->digits++;
    } else if (f->digits == 0 || value >= 0) {
        f->fault = BAD_SIZE;
    } else if (c == '\r') {
        f->place = AT_LINE_LF;
    } else if (c == ';') {
        f->place = IN_EXTENSION;
    } else {
        expect(f, c, c == '\t' ? '\t' : ' ', IN_BLANK, BAD_SIZE);
    }
}

static void take_after_size(fr_framing *f, uint8_t c)
{
    if (c == '\r')
        f->place = AT_LINE_LF;
    else if (f->place == IN_BLANK && c == ';')
        f->place = IN_EXTENSION;
    else if (f->place == IN_BLANK ? c != ' ' && c != '\t' : !is_text(c))
        f->fault = BAD_SIZE;
}

static void end_line(fr_framing *f, uint8_t c)
{
    expect(f, c, '\n', f->left ? IN_DATA : AT_TRAILER, BAD_SIZE);
    if (!f->left)
        f->room = FR_MAX_TRAILERS;
}

static void take_trailer(fr_framing *f, uint8_t c)
{
    if (f->place == AT_TRAILER && c == '\r')
        f->place = AT_END_LF;
    else if (f->place == IN_TRAILER_VALUE && c == '\r')
        f->place = AT_TRAILER_LF;
    else if (f->place == IN_TRAILER_NAME && c == ':')
        f->place = IN_TRAILER_VALUE;
    else if (f->place == IN_TRAILER_VALUE ? !is_text(c) : !is_token(c))
        f->fault = BAD_TRAILER;
    else if (f->place == AT_TRAILER)
        f->place = IN_TRAILER_NAME;
}

static void end_trailer(fr_framing *f, uint8_t c)
{
    expect(f, c, '\n', AT_TRAILER, BAD_TRAILER);
    f->room = f->room > 2 ? f->room - 2 : 0;
}

/* Whether `c` counts towards the length of a line: its CRLF does not. */
static int is_in_line(const fr_framing *f, uint8_t c)
{
    switch (f->place) {
    case IN_SIZE:
    case IN_BLANK:
    case IN_EXTENSION:
    case AT_TRAILER:
    case IN_TRAILER_NAME:
    case IN_TRAILER_VALUE:
        return c != '\r';
    default:
        return 0;
    }
}

static void take(fr_framing *f, uint8_t c)
{
    if (is_in_line(f, c)) {
        if (f->room == 0) {
            f->fault = LONG_LINE;
            return;
        }
        f->room--;
    }
    switch (f->place) {
    case AT_DATA_CR:
        expect(f, c, '\r', AT_DATA_LF, TOO_LONG_CHUNK);
        break;
    case AT_DATA_LF:
        if (c == '\n')
            begin_line(f);
        else
            f->fault = TOO_LONG_CHUNK;
        break;
    case IN_SIZE:
        take_size(f, c);
        break;
    case IN_BLANK:
    case IN_EXTENSION:
        take_after_size(f, c);
        break;
    case AT_LINE_LF:
        end_line(f, c);
        break;
    case AT_TRAILER:
    case IN_TRAILER_NAME:
    case IN_TRAILER_VALUE:
        take_trailer(f, c);
        break;
    case AT_TRAILER_LF:
        end_trailer(f, c);
        break;
    default: /* AT_END_LF */
        expect(f, c, '\n', AT_END, BAD_TRAILER);
    }
}

static size_t keep_data(fr_framing *f, uint8_t *to, const uint8_t *from, size_t size)
{
    size_t count = f->left < size ? (size_t)f->left : size;

    if (to != from)
        memmove(to, from, count);
    f->left -= count;
    if (f->left == 0)
        f->place = f->is_chunked ? AT_DATA_CR : AT_END;
    return count;
}

size_t fr_framing_decode(fr_framing *f, uint8_t *data, size_t size, size_t *used)
{
    size_t at = 0, kept = 0;

    while (at < size && f->place != AT_END && !f->fault) {
        if (f->place == IN_DATA) {
            size_t count = keep_data(f, data + kept, data + at, size - at);
            at += count;
            kept += count;
        } else {
            take(f, data[at++]);
        }
    }
    *used = at;
    return kept;
}
