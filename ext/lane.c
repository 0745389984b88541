#define _GNU_SOURCE

#include "lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lookup.h"
#include "serving.h"

enum {
    MAX_ANSWERS = 8192,
    MAX_BYTES = 24 << 20,
    MAX_FILES = 1024, /* and no more than a part of what the process may have open */
    PART_OF_FILES = 8,
    UNUSED_FILE_TICKS = 60,
    RENEWED_PART = 4, /* of the time that an answer has: the last */
    BATCH = 64,
    TURN_US = 500, /* of rounds, before other work gets its own */
    ROUND_BUDGET = 16 << 20, /* of files: some milliseconds at most, for all who take one */
    MIN_BUDGET = 64 << 10, /* a connection's part of it */
    MAX_BUDGET = 2 << 20,
};

static size_t max_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur / PART_OF_FILES > MAX_FILES)
        return MAX_FILES;
    return (size_t)limit.rlim_cur / PART_OF_FILES;
}

int fr_lane_init(fr_lane *lane, const fr_lane_settings *settings)
{
    memset(lane, 0, sizeof *lane);
    lane->settings = *settings;
    if (fr_connections_init(&lane->connections) != 0)
        return -1;
    lane->buffer = malloc(FR_BUFFER_SIZE);
    lane->events = malloc(FR_MAX_EVENTS * sizeof *lane->events);
    if (lane->buffer == NULL || lane->events == NULL ||
        fr_table_init(&lane->table, MAX_ANSWERS, MAX_BYTES, max_files()) != 0) {
        fr_lane_free(lane);
        errno = ENOMEM;
        return -1;
    }
    fr_clock_look(&lane->clock);
    return 0;
}

void fr_lane_free(fr_lane *lane)
{
    fr_connections_free(&lane->connections);
    if (lane->table.buckets != NULL)
        fr_table_free(&lane->table);
    fr_access_lines_free(&lane->lines);
    free(lane->buffer);
    free(lane->events);
}

int fr_lane_adopt(fr_lane *lane, int fd, const char *address, unsigned listener, const char *data,
                  size_t size, int has_served)
{
    fr_connection *c = fr_connection_open(&lane->connections, fd, address, data, size,
                                          size > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);

    if (c == NULL)
        return -1;
    c->listener = listener;
    c->has_served = has_served != 0;
    fr_clock_look(&lane->clock);
    fr_connection_enter(c, size > 0 || !has_served ? FR_BEGINNING : FR_IDLE, lane->clock.now_ms);
    return 0;
}

int fr_lane_accept(fr_lane *lane, int socket, unsigned listener)
{
    char address[FR_ADDRESS_SIZE];
    int fd = fr_connection_accept(socket, address), error;

    if (fd < 0)
        return errno == EAGAIN ? 0 : -1;
    if (fr_lane_adopt(lane, fd, address, listener, NULL, 0, 0) == 0)
        return 1;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Requests first: a manifest must not wait for a piece of everybody's layer. */
static void visit(fr_lane *lane, struct epoll_event *ready, int count)
{
    size_t sending = lane->connections.lists[FR_SENDING_LIST].count;
    size_t budget = ROUND_BUDGET / (sending > (size_t)count ? sending : (size_t)count);

    budget = budget < MIN_BUDGET ? MIN_BUDGET : budget > MAX_BUDGET ? MAX_BUDGET : budget;
    for (int i = 0; i < count; i++)
        if (((fr_connection *)ready[i].data.ptr)->sending == NULL) {
            fr_serve_received(lane, ready[i].data.ptr, budget);
            ready[i].data.ptr = NULL;
        }
    for (int i = 0; i < count; i++)
        if (ready[i].data.ptr != NULL)
            fr_serve_sending(lane, ready[i].data.ptr, budget);
}

void fr_lane_turn(fr_lane *lane)
{
    struct epoll_event ready[BATCH];
    int64_t end;

    lane->event_count = 0;
    fr_clock_look(&lane->clock);
    end = lane->clock.now_us + TURN_US;
    do {
        int count = epoll_wait(lane->connections.poll_fd, ready, BATCH, 0);
        if (count <= 0)
            return;
        visit(lane, ready, count);
        fr_clock_look(&lane->clock);
    } while (lane->event_count + BATCH <= FR_MAX_EVENTS && lane->clock.now_us < end);
}

/* The longest in a list, if that is for `timeout_ms` at least. */
static fr_connection *overdue(const fr_lane *lane, fr_list_name name, int64_t timeout_ms)
{
    fr_connection *c = lane->connections.lists[name].first;

    return c != NULL && lane->clock.now_ms - c->since_ms >= timeout_ms ? c : NULL;
}

void fr_lane_tick(fr_lane *lane)
{
    const fr_lane_settings *limits = &lane->settings;
    fr_connection *c;

    lane->event_count = 0;
    fr_clock_look(&lane->clock);
    while ((c = overdue(lane, FR_IDLE, limits->idle_timeout_ms)) != NULL)
        fr_connection_hang_up(c);
    while ((c = overdue(lane, FR_SENDING_LIST, limits->send_timeout_ms)) != NULL)
        fr_serve_cut(lane, c);
    while (lane->event_count < FR_MAX_EVENTS &&
           (c = overdue(lane, FR_BEGINNING, limits->head_timeout_ms)) != NULL) {
        if (c->received_size == 0)
            fr_connection_hang_up(c);
        else
            fr_serve_hand_over(lane, c);
    }
    fr_table_sweep(&lane->table, UNUSED_FILE_TICKS, lane->clock.now_ms);
}

int64_t fr_lane_waited_ms(const fr_lane *lane, const fr_connection *c)
{
    return lane->clock.now_ms - c->since_ms;
}

void fr_lane_resume(fr_lane *lane, fr_connection *c)
{
    lane->event_count = 0;
    fr_clock_look(&lane->clock);
    fr_sending_warm(c->sending);
    fr_serve_sending(lane, c, MIN_BUDGET);
}

void fr_lane_drain(fr_lane *lane)
{
    lane->is_draining = 1;
    fr_table_clear(&lane->table);
}

void fr_lane_cut_sending(fr_lane *lane)
{
    fr_connection *c;

    fr_clock_look(&lane->clock);
    for (c = lane->connections.lists[FR_READING].first; c != NULL; c = c->later)
        fr_serve_log(lane, c);
    while ((c = lane->connections.lists[FR_SENDING_LIST].first) != NULL)
        fr_serve_cut(lane, c);
}

void fr_lane_drop_idle(fr_lane *lane, int64_t grace_ms)
{
    static const fr_list_name WAITING[] = {FR_BEGINNING, FR_IDLE};

    fr_clock_look(&lane->clock);
    for (size_t i = 0; i < sizeof WAITING / sizeof *WAITING; i++)
        for (fr_connection *c = lane->connections.lists[WAITING[i]].first; c != NULL; c = c->later)
            if (c->received_size == 0 && lane->clock.now_ms - c->since_ms >= grace_ms)
                shutdown(c->fd, SHUT_RD);
}

int fr_lane_publish(fr_lane *lane, const char *request, size_t size, fr_draft *draft)
{
    fr_clock_look(&lane->clock);
    draft->renew = draft->until - (draft->until - lane->clock.now_ms) / RENEWED_PART;
    return fr_lookup_publish(&lane->table, request, size, draft);
}
