#define _GNU_SOURCE

#include "serving.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "lookup.h"

enum { PIPELINED = 16 };

static void enter(fr_lane *lane, fr_connection *c, fr_list_name name)
{
    fr_connection_enter(c, name, lane->clock.now_ms);
}

static void tell(fr_lane *lane, fr_event_kind kind, fr_connection *c)
{
    lane->events[lane->event_count++] = (fr_event){kind, c};
}

static void log_access(fr_lane *lane, const fr_connection *c, const fr_sending *s)
{
    if (lane->settings.logs_access)
        fr_access_lines_add(&lane->lines, c->address, &s->request, s->answer->status,
                            fr_sending_sent(s), lane->clock.now);
}

/* What came of an answer. Returns whether the connection is free for the next request. */
static int settle(fr_lane *lane, fr_connection *c, fr_sending *s, fr_progress progress)
{
    if (s->answer->fd >= 0)
        fr_clock_look(&lane->clock); /* a file takes long enough for others to end */
    if (progress != FR_SENT && progress != FR_GONE && c->sending == NULL &&
        (c->sending = fr_sending_put_away(s)) == NULL)
        progress = FR_GONE;
    if (progress == FR_SENT || progress == FR_GONE)
        log_access(lane, c, s);
    if (progress == FR_SENT) {
        lane->answered++;
        c->has_served = 1;
        if (!s->request.closes)
            return 1;
        fr_connection_hang_up(c);
        return 0;
    }
    if (progress == FR_GONE)
        fr_connection_cut(c);
    else if (progress == FR_COLD) {
        fr_connection_ignore(c); /* its end, if it comes, is noticed when sending goes on */
        enter(lane, c, FR_READING);
        tell(lane, FR_COLD_READ, c);
    } else {
        enter(lane, c, FR_SENDING_LIST);
        if (fr_connection_watch(c, EPOLLOUT) != 0)
            fr_connection_cut(c);
    }
    return 0;
}

static void hand_over(fr_lane *lane, fr_connection *c, const char *data, size_t size)
{
    if (fr_connection_keep(c, data, size) != 0) {
        fr_connection_hang_up(c);
        return;
    }
    fr_connection_ignore(c);
    if (c->list != FR_BEGINNING)
        c->since_ms = lane->clock.now_ms;
    fr_connection_leave(c);
    tell(lane, FR_HANDOVER, c);
}

/* Wait for the rest of a head, or for the next. A first head has its time from the accept. */
static void await(fr_lane *lane, fr_connection *c, const char *data, size_t size, uint32_t events)
{
    if (fr_connection_keep(c, data, size) != 0 || fr_connection_watch(c, events) != 0)
        fr_connection_hang_up(c);
    else if (size == 0)
        enter(lane, c, FR_IDLE);
    else if (c->list != FR_BEGINNING)
        enter(lane, c, FR_BEGINNING);
}

/* Answer the requests in `data`, all that the connection has brought, one after the other. */
static void serve(fr_lane *lane, fr_connection *c, const char *data, size_t size, size_t budget)
{
    char scratch[FR_MAX_ANSWER_HEAD];
    fr_request_head head;
    fr_sending sending;

    for (unsigned served = 0; size > 0; served++) {
        size_t used;
        fr_answer *answer;
        fr_progress progress;
        fr_head_result result = fr_request_head_parse(data, size, &head, &used);

        if (result == FR_HEAD_PARTIAL)
            break;
        if (served == PIPELINED || budget == 0) {
            await(lane, c, data, size, EPOLLIN | EPOLLOUT); /* at once, after the others */
            return;
        }
        if (result == FR_HEAD_RECOGNISED && head.closes && used < size)
            result = FR_HEAD_OTHER; /* to end the connection takes lingering */
        answer = result == FR_HEAD_RECOGNISED && !lane->is_draining
                     ? fr_lookup(&lane->table, &head, lane->clock.now_ms)
                     : NULL;
        if (answer == NULL ||
            fr_sending_begin(&sending, answer, &head, lane->clock.date, scratch) != 0) {
            hand_over(lane, c, data, size);
            return;
        }
        data += used;
        size -= used;
        progress = fr_sending_advance(&sending, c->fd, budget);
        if (progress != FR_SENT && fr_connection_keep(c, data, size) != 0)
            progress = FR_GONE;
        if (!settle(lane, c, &sending, progress))
            return;
        fr_connection_leave(c);
        budget -= fr_sending_sent(&sending) < budget ? (size_t)fr_sending_sent(&sending) : budget;
    }
    await(lane, c, data, size, EPOLLIN);
}

/* The requests are part of what is kept, which is replaced on the way. */
static void serve_kept(fr_lane *lane, fr_connection *c, size_t budget)
{
    char *kept = c->received;
    size_t size = c->received_size;

    c->received = NULL;
    c->received_size = 0;
    serve(lane, c, kept, size, budget);
    free(kept);
}

void fr_serve_received(fr_lane *lane, fr_connection *c, size_t budget)
{
    size_t kept = c->received_size;
    size_t room = kept < FR_BUFFER_SIZE ? FR_BUFFER_SIZE - kept : 0;
    fr_request_head head;
    size_t used;
    ssize_t count;

    if (room == 0) {
        serve_kept(lane, c, budget);
        return;
    }
    if (kept > 0)
        memcpy(lane->buffer, c->received, kept);
    count = recv(c->fd, lane->buffer + kept, room, 0);
    if (count < 0 && errno != EAGAIN && errno != EINTR)
        fr_connection_hang_up(c);
    else if (count == 0 &&
             fr_request_head_parse(lane->buffer, kept, &head, &used) == FR_HEAD_PARTIAL)
        fr_connection_hang_up(c); /* the end of what it sends; requests before are answered */
    else if (count > 0 || kept > 0)
        serve(lane, c, lane->buffer, kept + (count > 0 ? (size_t)count : 0), budget);
}

void fr_serve_sending(fr_lane *lane, fr_connection *c, size_t budget)
{
    fr_sending *s = c->sending;

    if (!settle(lane, c, s, fr_sending_advance(s, c->fd, budget)))
        return;
    c->sending = NULL;
    fr_sending_free(s);
    fr_connection_leave(c);
    serve_kept(lane, c, budget);
}

void fr_serve_cut(fr_lane *lane, fr_connection *c)
{
    settle(lane, c, c->sending, FR_GONE);
}

void fr_serve_hand_over(fr_lane *lane, fr_connection *c)
{
    hand_over(lane, c, c->received, c->received_size);
}

void fr_serve_log(fr_lane *lane, const fr_connection *c)
{
    log_access(lane, c, c->sending);
}
