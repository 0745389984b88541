#define _GNU_SOURCE

#include "sending.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MIN_SAMPLES = 2 }; /* of the pages of a window: the first, one between, the last */

static size_t put(char *out, size_t at, const char *data, size_t size)
{
    memcpy(out + at, data, size);
    return at + size;
}

/* The head of one range: the published one with the range's own numbers. */
static int write_range_head(fr_sending *s, char *out)
{
    const fr_answer *a = s->answer;
    char range[64], length[24];
    int range_size, length_size;
    size_t at;

    range_size = snprintf(range, sizeof range, "%llu-%llu/%llu", (unsigned long long)s->begin,
                          (unsigned long long)s->end - 1, (unsigned long long)a->body_size);
    length_size = snprintf(length, sizeof length, "%llu", (unsigned long long)(s->end - s->begin));
    if (a->head_size + sizeof range + sizeof length > FR_MAX_ANSWER_HEAD)
        return -1;
    at = put(out, 0, a->head, a->range_at);
    at = put(out, at, range, (size_t)range_size);
    at = put(out, at, a->head + a->range_end, a->length_at - a->range_end);
    at = put(out, at, length, (size_t)length_size);
    at = put(out, at, a->head + a->length_end, a->head_size - a->length_end);
    s->head = out;
    s->head_size = at;
    return 0;
}

int fr_sending_begin(fr_sending *s, fr_answer *answer, const fr_request_head *request,
                     const char *date, char *scratch)
{
    memset(s, 0, sizeof *s);
    s->answer = answer;
    s->request = *request;
    s->end = answer->body_size;
    s->stride = FR_WINDOW;
    s->head = answer->head;
    s->head_size = answer->head_size;
    /* Whoever is still sending this head has a copy of what is left of it. */
    memcpy((char *)answer->head + answer->date_at, date, FR_DATE_SIZE);
    if (answer->length_at == 0)
        return 0;
    if (request->range_first >= answer->body_size)
        return -1;
    s->begin = s->at = request->range_first;
    if (request->range_last < answer->body_size)
        s->end = request->range_last + 1;
    return write_range_head(s, scratch);
}

static int is_over(int error)
{
    return error != EAGAIN && error != EWOULDBLOCK && error != EINTR;
}

static fr_progress send_memory(fr_sending *s, int sock)
{
    size_t head_left = s->head_size - s->head_sent;
    struct iovec parts[2] = {
        {(char *)s->head + s->head_sent, head_left},
        {s->answer->body != NULL ? (char *)s->answer->body + s->at : NULL, (size_t)(s->end - s->at)},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = s->end > s->at ? 2 : 1};
    ssize_t sent = sendmsg(sock, &message, MSG_NOSIGNAL);
    size_t of_head;

    if (sent < 0)
        return is_over(errno) ? FR_GONE : FR_BLOCKED;
    of_head = (size_t)sent < head_left ? (size_t)sent : head_left;
    s->head_sent += of_head;
    s->at += (size_t)sent - of_head;
    return s->head_sent == s->head_size && s->at == s->end ? FR_SENT : FR_BLOCKED;
}

int fr_file_is_resident(int fd, uint64_t offset, uint64_t size)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), first = offset - offset % page;
    uint64_t pages = (offset + size - first + page - 1) / page;
    uint64_t samples = size > MIN_SAMPLES * FR_WINDOW ? size / FR_WINDOW : MIN_SAMPLES;
    unsigned char is_there = 1;
    char *mapped = mmap(NULL, pages * page, PROT_READ, MAP_SHARED, fd, (off_t)first);

    if (mapped == MAP_FAILED)
        return 0;
    for (uint64_t i = 0; i <= samples && is_there & 1; i++)
        if (mincore(mapped + (pages - 1) * i / samples * page, page, &is_there) != 0)
            is_there = 0;
    munmap(mapped, pages * page);
    return is_there & 1;
}

uint64_t fr_sending_window(const fr_sending *s)
{
    return s->end - s->at < FR_WINDOW ? s->end - s->at : FR_WINDOW;
}

void fr_sending_warm(fr_sending *s)
{
    s->warm_end = s->at + fr_sending_window(s);
}

/* Whether the file from `at` on is in memory: as much as it was the last time and once more,
 * for to ask costs a few microseconds. One of a single window is believed for a second. */
static int is_warm(fr_sending *s)
{
    fr_answer *a = s->answer;
    uint64_t left = s->end - s->at, stride = s->stride < left ? s->stride : left;

    if (a->body_size <= FR_WINDOW && a->seen_in_memory == a->last_used)
        stride = left;
    else
        while (!fr_file_is_resident(a->fd, a->file_offset + s->at, stride)) {
            s->stride = FR_WINDOW;
            if (stride <= FR_WINDOW)
                return 0;
            stride = FR_WINDOW;
        }
    a->seen_in_memory = a->last_used;
    s->warm_end = s->at + stride;
    if (s->stride < FR_MAX_STRIDE)
        s->stride *= 2;
    return 1;
}

static fr_progress send_head(fr_sending *s, int sock)
{
    size_t left = s->head_size - s->head_sent;
    ssize_t sent = send(sock, s->head + s->head_sent, left, MSG_MORE | MSG_NOSIGNAL);

    if (sent < 0)
        return is_over(errno) ? FR_GONE : FR_BLOCKED;
    s->head_sent += (size_t)sent;
    return s->head_sent == s->head_size ? FR_SENT : FR_BLOCKED;
}

static fr_progress send_file(fr_sending *s, int sock, size_t budget)
{
    while (s->at < s->end && budget > 0) {
        uint64_t left;
        off_t offset;
        ssize_t sent;

        if (s->at >= s->warm_end && !is_warm(s))
            return FR_COLD;
        if (s->head_sent < s->head_size) {
            fr_progress progress = send_head(s, sock);
            if (progress != FR_SENT)
                return progress;
        }
        left = s->warm_end - s->at;
        offset = (off_t)(s->answer->file_offset + s->at);
        sent = sendfile(sock, s->answer->fd, &offset, left < budget ? (size_t)left : budget);
        if (sent < 0)
            return is_over(errno) ? FR_GONE : FR_BLOCKED;
        if (sent == 0)
            return FR_GONE;
        s->at += (uint64_t)sent;
        budget -= (size_t)sent;
    }
    return s->at == s->end ? FR_SENT : FR_BLOCKED;
}

fr_progress fr_sending_advance(fr_sending *s, int sock, size_t budget)
{
    if (s->answer->body != NULL || s->begin == s->end)
        return send_memory(s, sock);
    return send_file(s, sock, budget);
}

uint64_t fr_sending_sent(const fr_sending *s)
{
    return s->at - s->begin;
}

static fr_slice move(fr_slice slice, char **room)
{
    if (slice.size > 0)
        memcpy(*room, slice.data, slice.size);
    slice.data = *room;
    *room += slice.size;
    return slice;
}

fr_sending *fr_sending_put_away(const fr_sending *s)
{
    const fr_request_head *request = &s->request;
    fr_slice head = {s->head + s->head_sent, s->head_size - s->head_sent};
    size_t text = request->target.size + request->user_agent.size + request->referer.size;
    fr_sending *away = malloc(sizeof *away + head.size + text);
    char *room;

    if (away == NULL)
        return NULL;
    room = (char *)(away + 1);
    *away = *s;
    away->head = move(head, &room).data;
    away->head_size = head.size;
    away->head_sent = 0;
    memset(&away->request, 0, sizeof away->request);
    away->request.method = request->method;
    away->request.closes = request->closes;
    away->request.target = move(request->target, &room);
    away->request.user_agent = move(request->user_agent, &room);
    away->request.referer = move(request->referer, &room);
    fr_answer_keep(away->answer);
    return away;
}

void fr_sending_free(fr_sending *s)
{
    fr_answer_release(s->answer);
    free(s);
}
