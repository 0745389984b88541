#define _GNU_SOURCE

#include "access_lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIXED_PART = 256 }; /* more than all that is not the client's text */

/* Not strftime's %b: the month's name must not follow the locale. */
static void set_time(fr_access_lines *lines, int64_t now)
{
    static const char MONTHS[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)now;
    struct tm t;

    gmtime_r(&seconds, &t);
    snprintf(lines->time, sizeof lines->time, "%02u/%s/%04u:%02u:%02u:%02u +0000",
             (unsigned)t.tm_mday % 100, MONTHS[t.tm_mon], (unsigned)(t.tm_year + 1900) % 10000,
             (unsigned)t.tm_hour % 100, (unsigned)t.tm_min % 100, (unsigned)t.tm_sec % 100);
    lines->second = now;
}

static int make_room(fr_access_lines *lines, size_t size)
{
    size_t room = lines->room ? lines->room : 4096;
    char *data;

    while (room - lines->size < size)
        room *= 2;
    if (room == lines->room)
        return 0;
    data = realloc(lines->data, room);
    if (data == NULL)
        return -1;
    lines->data = data;
    lines->room = room;
    return 0;
}

static char *put(char *out, const char *text, size_t size)
{
    memcpy(out, text, size);
    return out + size;
}

static char *put_text(char *out, const char *text)
{
    return put(out, text, strlen(text));
}

static char *put_number(char *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    return put(out, digits + at, sizeof digits - at);
}

/* A header that was not sent shows as a hyphen. */
static char *put_slice(char *out, fr_slice slice)
{
    if (slice.size == 0)
        *out++ = '-';
    for (size_t i = 0; i < slice.size; i++) {
        if (slice.data[i] == '\\')
            *out++ = '\\';
        *out++ = slice.data[i];
    }
    return out;
}

void fr_access_lines_add(fr_access_lines *lines, const char *address, const fr_request_head *head,
                         int status, uint64_t bytes_sent, int64_t now)
{
    size_t size = FIXED_PART + head->target.size + 2 * (head->referer.size + head->user_agent.size);
    char *out;

    if (make_room(lines, size) != 0) {
        lines->lost++;
        return;
    }
    if (lines->second != now || lines->time[0] == 0)
        set_time(lines, now);
    out = lines->data + lines->size;
    out = put_text(out, *address ? address : "-"); /* a Unix socket's client has none */
    out = put_text(out, " - - [");
    out = put_text(out, lines->time);
    out = put_text(out, head->method == FR_HEAD ? "] \"HEAD " : "] \"GET ");
    out = put(out, head->target.data, head->target.size);
    out = put_text(out, " HTTP/1.1\" ");
    out = put_number(out, (uint64_t)status);
    *out++ = ' ';
    out = put_number(out, bytes_sent);
    out = put_text(out, " \"");
    out = put_slice(out, head->referer);
    out = put_text(out, "\" \"");
    out = put_slice(out, head->user_agent);
    out = put_text(out, "\"\n");
    lines->size = (size_t)(out - lines->data);
}

void fr_access_lines_free(fr_access_lines *lines)
{
    free(lines->data);
    memset(lines, 0, sizeof *lines);
}
