/* A lane with clients: their ends of socket pairs, and what they send and hear. */
#ifndef FASTREG_LANE_GIVEN_H
#define FASTREG_LANE_GIVEN_H

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "checking.h"
#include "lane.h"

#define HOST " HTTP/1.1\r\nHost: reg\r\n"
#define GET_TAG "GET /v2/a/manifests/t" HOST "\r\n"
#define GET_BLOB "GET /v2/a/blobs/sha256:" HEX_64 HOST "\r\n"
#define GET_OTHER "GET /v2/a/manifests/other" HOST "\r\n"
#define TAG_HEAD "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nContent-Length: 4\r\n\r\n"
#define TAG TAG_HEAD "body"
#define BLOB_HEAD "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nX: a blob\r\n\r\n"

enum {
    HEAD_TIMEOUT = 1000,
    IDLE_TIMEOUT = 2000,
    SEND_TIMEOUT = 3000,
    BLOB_SIZE = FR_WINDOW + 300000,
};

static fr_lane lane;
static fr_list *const lists = lane.connections.lists;
static int is_disk_cold;

/* Both in the place of the C library's: whether the page cache has something is the test's
 * choice. */
int mincore(void *start, size_t size, unsigned char *pages)
{
    if (is_disk_cold) {
        memset(pages, 0, (size - 1) / 4096 + 1);
        return 0;
    }
    return (int)syscall(SYS_mincore, start, size, pages);
}

ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    if (is_disk_cold) {
        errno = EAGAIN;
        return -1;
    }
    return syscall(SYS_preadv2, fd, parts, count, offset, 0, flags);
}

static inline void open_lane(void)
{
    fr_lane_settings settings = {HEAD_TIMEOUT, IDLE_TIMEOUT, SEND_TIMEOUT, 1};

    signal(SIGPIPE, SIG_IGN);
    is_disk_cold = 0;
    CHECK(fr_lane_init(&lane, &settings) == 0);
}

static inline int publish(const char *request, const char *head, const char *body)
{
    fr_draft draft = draft_of("", head, body);

    return fr_lane_publish(&lane, request, strlen(request), &draft);
}

static inline int publish_blob(int fd)
{
    fr_draft draft = draft_of_file("", BLOB_HEAD, fd, 0, BLOB_SIZE);

    return fr_lane_publish(&lane, GET_BLOB, strlen(GET_BLOB), &draft);
}

/* Returns the client's end of a connection that the lane has. */
static inline int adopt(const char *data, size_t size, int has_served)
{
    int pair[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK(fr_lane_adopt(&lane, pair[0], "192.0.2.1", 7, data, size, has_served) == 0);
    return pair[1];
}

static inline int connect_client(void)
{
    return adopt(NULL, 0, 0);
}

static inline void say(int client, const char *text)
{
    CHECK(send(client, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* Returns what has arrived; *has_ended tells whether the connection did. */
static inline size_t hear(int client, char *out, size_t room, int *has_ended)
{
    size_t size = 0;
    ssize_t count = 1;

    while (size < room && (count = recv(client, out + size, room - size, 0)) > 0)
        size += (size_t)count;
    *has_ended = count == 0 || (count < 0 && errno != EAGAIN);
    return size;
}

/* The date of every answer is that of the moment. */
static inline void blank_dates(char *text, size_t size)
{
    static const char NAME[] = "\r\nDate: ";

    for (size_t at = 0; at + strlen(NAME) + FR_DATE_SIZE <= size; at++)
        if (memcmp(text + at, NAME, strlen(NAME)) == 0)
            memcpy(text + at + strlen(NAME), DATE, FR_DATE_SIZE);
}

static inline int hears(int client, const char *expected, int ends)
{
    size_t size = strlen(expected);
    char *got = malloc(size + 1);
    int has_ended, is_same;

    is_same = hear(client, got, size + 1, &has_ended) == size;
    blank_dates(got, size);
    is_same = is_same && memcmp(got, expected, size) == 0 && has_ended == ends;
    free(got);
    return is_same;
}

#define HEARS(client, expected) CHECK(hears(client, expected, 0))
#define HEARS_AND_ENDS(client, expected) CHECK(hears(client, expected, 1) && close(client) == 0)

static inline void check_list(fr_list_name name, size_t *connections)
{
    const fr_list *list = &lists[name];
    const fr_connection *before = NULL;

    for (const fr_connection *c = list->first; c != NULL; before = c, c = c->later) {
        CHECK(c->earlier == before && c->list == name && c->since_ms <= lane.clock.now_ms);
        CHECK(before == NULL || before->since_ms <= c->since_ms);
        CHECK((c->sending != NULL) == (name == FR_SENDING_LIST || name == FR_READING));
        CHECK((c->watched != 0) == (name != FR_READING));
        CHECK((c->received != NULL) == (c->received_size > 0));
        CHECK(name != FR_IDLE || c->received_size == 0);
        ++*connections;
    }
    CHECK(list->last == before);
}

/* Every connection is in the one list that it says, but for those just handed over. */
static inline void check_lists(size_t handed_over)
{
    size_t connections = handed_over;

    CHECK(lists[FR_NOWHERE].first == NULL);
    for (int name = FR_NOWHERE + 1; name < FR_LISTS; name++)
        check_list((fr_list_name)name, &connections);
    CHECK(connections == lane.connections.count);
}

/* A turn that leaves nothing to others. */
static inline void turn(void)
{
    fr_lane_turn(&lane);
    CHECK(lane.event_count == 0);
    check_lists(0);
}

/* The one connection that the last call handed over, with exactly that; returns its end of the
 * pair, or whatever was accepted. */
static inline int taken(const char *data, size_t size)
{
    fr_connection *c;
    int fd;

    CHECK(lane.event_count == 1 && lane.events[0].kind == FR_HANDOVER);
    check_lists(1);
    c = lane.events[0].connection;
    CHECK(c->received_size == size && memcmp(c->received, data, size) == 0);
    CHECK(c->sending == NULL && c->watched == 0);
    fd = c->fd;
    fr_connection_take(c);
    fr_connection_free(c);
    lane.event_count = 0;
    check_lists(0);
    return fd;
}

#define HANDS_OVER(text) CHECK(close(taken(text, strlen(text))) == 0)

/* As if time had passed for the connections of a list. */
static inline void age(fr_list_name name, int64_t ms)
{
    for (fr_connection *c = lists[name].first; c != NULL; c = c->later)
        c->since_ms -= ms;
}

static inline void close_lane(void)
{
    check_lists(0);
    fr_lane_free(&lane);
    CHECK(lane.connections.count == 0);
}

#endif
