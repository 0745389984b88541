#define _GNU_SOURCE

#include "lane.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "routes.h"

enum {
    MAX_ANSWERS = 8192,
    MAX_BYTES = 24 << 20,
    MAX_FILES = 1024,
    UNUSED_FILE_S = 60,
    BUFFER_SIZE = 64 << 10,
    BATCH = 64,
    TURN_US = 500, /* of rounds, before other work gets its own */
    PIPELINED = 16,
    ROUND_BUDGET = 8 << 20, /* of files: two milliseconds at most, for all that are ready */
    MIN_BUDGET = 64 << 10, /* a connection's part of it */
    MAX_BUDGET = 1 << 20,
};

/* --- time */

static void look_at_clock(fr_lane *lane)
{
    static const char DAYS[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char MONTHS[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct timespec t;
    struct tm d;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    lane->now_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    clock_gettime(CLOCK_REALTIME, &t);
    if (lane->now == t.tv_sec)
        return;
    lane->now = t.tv_sec;
    gmtime_r(&t.tv_sec, &d);
    snprintf(lane->date, sizeof lane->date, "%s, %02u %s %04u %02u:%02u:%02u GMT", DAYS[d.tm_wday],
             (unsigned)d.tm_mday % 100, MONTHS[d.tm_mon], (unsigned)(d.tm_year + 1900) % 10000,
             (unsigned)d.tm_hour % 100, (unsigned)d.tm_min % 100, (unsigned)d.tm_sec % 100);
}

static int64_t microseconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- the lists, each in the order of its deadlines */

static void leave_list(fr_lane *lane, fr_connection *c)
{
    fr_list *list = &lane->lists[c->list];

    if (c->list == FR_NOWHERE)
        return;
    *(c->earlier != NULL ? &c->earlier->later : &list->first) = c->later;
    *(c->later != NULL ? &c->later->earlier : &list->last) = c->earlier;
    c->list = FR_NOWHERE;
}

static void enter_list(fr_lane *lane, fr_connection *c, fr_list_name name)
{
    fr_list *list = &lane->lists[name];

    leave_list(lane, c);
    c->list = (uint8_t)name;
    c->since_ms = lane->now_ms;
    c->earlier = list->last;
    c->later = NULL;
    *(list->last != NULL ? &list->last->later : &list->first) = c;
    list->last = c;
}

/* --- connections */

static int watch(fr_lane *lane, fr_connection *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    int operation = c->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    if (c->watched == events)
        return 0;
    if (epoll_ctl(lane->poll_fd, operation, c->fd, &event) != 0)
        return -1;
    c->watched = events;
    return 0;
}

static void stop_watching(fr_lane *lane, fr_connection *c)
{
    if (c->watched != 0)
        epoll_ctl(lane->poll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    c->watched = 0;
}

void fr_lane_take(fr_lane *lane, fr_connection *c)
{
    stop_watching(lane, c);
    leave_list(lane, c);
    lane->connections--;
}

void fr_connection_free(fr_connection *c)
{
    if (c->sending != NULL)
        fr_sending_free(c->sending);
    free(c->received);
    free(c);
}

static void hang_up(fr_lane *lane, fr_connection *c)
{
    fr_lane_take(lane, c);
    close(c->fd);
    fr_connection_free(c);
}

/* So that no client takes what it got for the whole. */
static void cut(fr_lane *lane, fr_connection *c)
{
    struct linger reset = {1, 0};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    hang_up(lane, c);
}

/* Keep what was received and not consumed; `data` may be part of what is kept already. */
static int keep_received(fr_connection *c, const char *data, size_t size)
{
    char *kept = NULL;

    if (size > 0) {
        kept = malloc(size);
        if (kept == NULL)
            return -1;
        memcpy(kept, data, size);
    }
    free(c->received);
    c->received = kept;
    c->received_size = size;
    return 0;
}

static void tell(fr_lane *lane, fr_event_kind kind, fr_connection *c)
{
    lane->events[lane->event_count++] = (fr_event){kind, c};
}

/* --- requests and answers */

static void log_access(fr_lane *lane, const fr_connection *c, const fr_sending *s)
{
    if (lane->settings.logs_access)
        fr_access_lines_add(&lane->lines, c->address, &s->request, s->answer->status,
                            fr_sending_sent(s), lane->now);
}

/* An answer must be the same for the very same of all that it can depend on. */
static size_t write_key(char *key, const fr_request_head *head)
{
    const fr_slice parts[] = {head->target, head->if_none_match, head->authorization};
    size_t size = 0;

    key[size++] = head->method == FR_HEAD ? 'H' : head->has_range ? 'R' : 'G';
    key[size++] = head->closes ? 'C' : 'K';
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].size > 0)
            memcpy(key + size, parts[i].data, parts[i].size);
        size += parts[i].size;
        key[size++] = '\n';
    }
    return size;
}

static int is_of_the_lane(const fr_request_head *head)
{
    fr_route route = fr_route_find(head->target);

    return route == FR_ROUTE_BLOB || (route != FR_ROUTE_NONE && !head->has_range);
}

static fr_answer *find_answer(fr_lane *lane, const fr_request_head *head)
{
    char key[FR_MAX_HEAD + 8];

    if (lane->is_draining || !is_of_the_lane(head))
        return NULL;
    return fr_table_find(&lane->table, key, write_key(key, head), lane->now);
}

int fr_lane_publish(fr_lane *lane, const char *request, size_t size, fr_draft *draft)
{
    char key[FR_MAX_HEAD + 8];
    fr_request_head head;
    size_t used;

    if (fr_request_head_parse(request, size, &head, &used) != FR_HEAD_RECOGNISED || used != size ||
        !is_of_the_lane(&head) || draft->head_size > FR_MAX_ANSWER_HEAD)
        return -1;
    look_at_clock(lane);
    draft->key = key;
    draft->key_size = write_key(key, &head);
    draft->is_range = head.has_range;
    return fr_table_publish(&lane->table, draft, lane->now);
}

/* What came of an answer. Returns whether the connection is free for the next request. */
static int settle(fr_lane *lane, fr_connection *c, fr_sending *s, fr_progress progress)
{
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
        hang_up(lane, c);
        return 0;
    }
    if (progress == FR_GONE)
        cut(lane, c);
    else if (progress == FR_COLD) {
        stop_watching(lane, c); /* its end, if it comes, is noticed when sending goes on */
        enter_list(lane, c, FR_READING);
        tell(lane, FR_COLD_READ, c);
    } else {
        enter_list(lane, c, FR_SENDING_LIST);
        if (watch(lane, c, EPOLLOUT) != 0)
            cut(lane, c);
    }
    return 0;
}

static void hand_over(fr_lane *lane, fr_connection *c, const char *data, size_t size)
{
    if (keep_received(c, data, size) != 0) {
        hang_up(lane, c);
        return;
    }
    stop_watching(lane, c);
    if (c->list != FR_BEGINNING)
        c->since_ms = lane->now_ms;
    leave_list(lane, c);
    tell(lane, FR_HANDOVER, c);
}

/* Wait for the rest of a head, or for the next. A first head has its time from the accept. */
static void await(fr_lane *lane, fr_connection *c, const char *data, size_t size, uint32_t events)
{
    if (keep_received(c, data, size) != 0 || watch(lane, c, events) != 0)
        hang_up(lane, c);
    else if (size == 0)
        enter_list(lane, c, FR_IDLE);
    else if (c->list != FR_BEGINNING)
        enter_list(lane, c, FR_BEGINNING);
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
        if (served == PIPELINED) {
            await(lane, c, data, size, EPOLLIN | EPOLLOUT); /* at once, after the others */
            return;
        }
        if (result == FR_HEAD_RECOGNISED && head.closes && used < size)
            result = FR_HEAD_OTHER; /* to end the connection takes lingering */
        answer = result == FR_HEAD_RECOGNISED ? find_answer(lane, &head) : NULL;
        if (answer == NULL || fr_sending_begin(&sending, answer, &head, lane->date, scratch) != 0) {
            hand_over(lane, c, data, size);
            return;
        }
        data += used;
        size -= used;
        progress = fr_sending_advance(&sending, c->fd, budget);
        if (progress != FR_SENT && keep_received(c, data, size) != 0)
            progress = FR_GONE;
        if (!settle(lane, c, &sending, progress))
            return;
        leave_list(lane, c);
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

static void receive(fr_lane *lane, fr_connection *c, size_t budget)
{
    size_t kept = c->received_size;
    size_t room = kept < BUFFER_SIZE ? BUFFER_SIZE - kept : 0;
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
        hang_up(lane, c);
    else if (count == 0 &&
             fr_request_head_parse(lane->buffer, kept, &head, &used) == FR_HEAD_PARTIAL)
        hang_up(lane, c); /* the end of what it sends; requests before are answered */
    else if (count > 0 || kept > 0)
        serve(lane, c, lane->buffer, kept + (count > 0 ? (size_t)count : 0), budget);
}

static void send_on(fr_lane *lane, fr_connection *c, size_t budget)
{
    fr_sending *s = c->sending;

    if (!settle(lane, c, s, fr_sending_advance(s, c->fd, budget)))
        return;
    c->sending = NULL;
    fr_sending_free(s);
    leave_list(lane, c);
    serve_kept(lane, c, budget);
}

/* --- what the outside calls */

int fr_lane_init(fr_lane *lane, const fr_lane_settings *settings)
{
    memset(lane, 0, sizeof *lane);
    lane->settings = *settings;
    lane->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (lane->poll_fd < 0)
        return -1;
    lane->buffer = malloc(BUFFER_SIZE);
    lane->events = malloc(FR_MAX_EVENTS * sizeof *lane->events);
    if (lane->buffer == NULL || lane->events == NULL ||
        fr_table_init(&lane->table, MAX_ANSWERS, MAX_BYTES, MAX_FILES) != 0) {
        fr_lane_free(lane);
        errno = ENOMEM;
        return -1;
    }
    look_at_clock(lane);
    return 0;
}

void fr_lane_free(fr_lane *lane)
{
    fr_connection *c;

    while ((c = lane->lists[FR_READING].first) != NULL) {
        fr_lane_take(lane, c);
        close(c->fd);
    }
    for (size_t name = 0; name < FR_LISTS; name++)
        while (lane->lists[name].first != NULL)
            hang_up(lane, lane->lists[name].first);
    if (lane->table.buckets != NULL)
        fr_table_free(&lane->table);
    fr_access_lines_free(&lane->lines);
    free(lane->buffer);
    free(lane->events);
    close(lane->poll_fd);
}

int fr_lane_adopt(fr_lane *lane, int fd, const char *address, unsigned listener, const char *data,
                  size_t size, int has_served)
{
    fr_connection *c = calloc(1, sizeof *c);

    if (c == NULL)
        return -1;
    c->fd = fd;
    c->listener = listener;
    c->has_served = has_served != 0;
    snprintf(c->address, sizeof c->address, "%s", address);
    if (keep_received(c, data, size) != 0 ||
        watch(lane, c, size > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN) != 0) {
        fr_connection_free(c);
        return -1;
    }
    look_at_clock(lane);
    enter_list(lane, c, size > 0 || !has_served ? FR_BEGINNING : FR_IDLE);
    lane->connections++;
    return 0;
}

static void write_address(char *out, const struct sockaddr_storage *address)
{
    static const uint8_t MAPPED[12] = {[10] = 0xff, [11] = 0xff};
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;

    out[0] = 0;
    if (address->ss_family == AF_INET)
        inet_ntop(AF_INET, &v4->sin_addr, out, FR_ADDRESS_SIZE);
    else if (address->ss_family == AF_INET6 && memcmp(&v6->sin6_addr, MAPPED, sizeof MAPPED) == 0)
        inet_ntop(AF_INET, v6->sin6_addr.s6_addr + sizeof MAPPED, out, FR_ADDRESS_SIZE);
    else if (address->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &v6->sin6_addr, out, FR_ADDRESS_SIZE);
}

/* Whoever left while waiting in the queue, or could not be reached, is no failure of ours
 * (accept(2), "Error handling"). */
static int is_of_the_client(int error)
{
    return error == ECONNABORTED || error == EINTR || error == EPROTO || error == ENETDOWN ||
           error == EHOSTDOWN || error == EHOSTUNREACH || error == ENETUNREACH ||
           error == ENOPROTOOPT || error == EPERM;
}

int fr_lane_accept(fr_lane *lane, int socket, unsigned listener)
{
    struct sockaddr_storage address = {0};
    char text[FR_ADDRESS_SIZE];
    socklen_t size = sizeof address;
    int fd, error;

    do
        fd = accept4(socket, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd < 0 && is_of_the_client(errno));
    if (fd < 0)
        return errno == EAGAIN ? 0 : -1;
    write_address(text, &address);
    if (fr_lane_adopt(lane, fd, text, listener, NULL, 0, 0) == 0)
        return 1;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Requests first: a manifest must not wait for a piece of everybody's layer. */
static void visit(fr_lane *lane, struct epoll_event *ready, int count)
{
    size_t budget = ROUND_BUDGET / (size_t)count;

    budget = budget < MIN_BUDGET ? MIN_BUDGET : budget > MAX_BUDGET ? MAX_BUDGET : budget;
    for (int i = 0; i < count; i++)
        if (((fr_connection *)ready[i].data.ptr)->sending == NULL) {
            receive(lane, ready[i].data.ptr, budget);
            ready[i].data.ptr = NULL;
        }
    for (int i = 0; i < count; i++)
        if (ready[i].data.ptr != NULL)
            send_on(lane, ready[i].data.ptr, budget);
}

void fr_lane_turn(fr_lane *lane)
{
    struct epoll_event ready[BATCH];
    int64_t end = microseconds() + TURN_US;

    lane->event_count = 0;
    look_at_clock(lane);
    do {
        int count = epoll_wait(lane->poll_fd, ready, BATCH, 0);
        if (count <= 0)
            return;
        visit(lane, ready, count);
    } while (lane->event_count + BATCH <= FR_MAX_EVENTS && microseconds() < end);
}

void fr_lane_tick(fr_lane *lane)
{
    fr_connection *c;

    lane->event_count = 0;
    look_at_clock(lane);
    while ((c = lane->lists[FR_IDLE].first) != NULL &&
           lane->now_ms - c->since_ms >= lane->settings.idle_timeout_ms)
        hang_up(lane, c);
    while ((c = lane->lists[FR_SENDING_LIST].first) != NULL &&
           lane->now_ms - c->since_ms >= lane->settings.send_timeout_ms)
        settle(lane, c, c->sending, FR_GONE);
    while ((c = lane->lists[FR_BEGINNING].first) != NULL && lane->event_count < FR_MAX_EVENTS &&
           lane->now_ms - c->since_ms >= lane->settings.head_timeout_ms) {
        if (c->received_size == 0)
            hang_up(lane, c);
        else
            hand_over(lane, c, c->received, c->received_size);
    }
    fr_table_sweep(&lane->table, lane->now - UNUSED_FILE_S);
}

int64_t fr_lane_waited_ms(const fr_lane *lane, const fr_connection *c)
{
    return lane->now_ms - c->since_ms;
}

void fr_lane_resume(fr_lane *lane, fr_connection *c)
{
    lane->event_count = 0;
    look_at_clock(lane);
    fr_sending_warm(c->sending);
    send_on(lane, c, MIN_BUDGET);
}

void fr_lane_drain(fr_lane *lane)
{
    lane->is_draining = 1;
    fr_table_clear(&lane->table);
}

void fr_lane_cut_sending(fr_lane *lane)
{
    fr_connection *c;

    look_at_clock(lane);
    for (c = lane->lists[FR_READING].first; c != NULL; c = c->later)
        log_access(lane, c, c->sending);
    while ((c = lane->lists[FR_SENDING_LIST].first) != NULL)
        settle(lane, c, c->sending, FR_GONE);
}

void fr_lane_drop_idle(fr_lane *lane, int64_t grace_ms)
{
    static const fr_list_name WAITING[] = {FR_BEGINNING, FR_IDLE};

    look_at_clock(lane);
    for (size_t i = 0; i < sizeof WAITING / sizeof *WAITING; i++)
        for (fr_connection *c = lane->lists[WAITING[i]].first; c != NULL; c = c->later)
            if (c->received_size == 0 && lane->now_ms - c->since_ms >= grace_ms)
                shutdown(c->fd, SHUT_RD);
}
