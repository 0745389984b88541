/* The lane under sanitizers, where memory or the kernel's is short: of one session, each
 * request for some fails once, and each from one on. Linked with the six functions wrapped. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <sys/epoll.h>

#include "lane_given.h"

#define RANGE "GET /v2/a/blobs/sha256:" HEX_64 HOST "Range: bytes=1-2\r\n\r\n"
#define RANGE_HEAD                                                           \
    "HTTP/1.1 206 P\r\nContent-Range: bytes 1-2/9\r\nContent-Length: 2\r\n" \
    "Date: " DATE "\r\n\r\n"

static int is_counting;
static size_t asked, first_refused, last_refused;
static int accept_error;

static int is_refused(void)
{
    if (!is_counting)
        return 0;
    asked++;
    errno = ENOMEM;
    return asked >= first_refused && asked <= last_refused;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *data, size_t size);
int __real_epoll_ctl(int poll_fd, int operation, int fd, struct epoll_event *event);
int __real_fcntl(int fd, int command, ...);
int __real_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *data, size_t size);
int __wrap_epoll_ctl(int poll_fd, int operation, int fd, struct epoll_event *event);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);

void *__wrap_malloc(size_t size)
{
    return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *data, size_t size)
{
    return is_refused() ? NULL : __real_realloc(data, size);
}

int __wrap_epoll_ctl(int poll_fd, int operation, int fd, struct epoll_event *event)
{
    if (operation != EPOLL_CTL_DEL && is_refused())
        return -1;
    return __real_epoll_ctl(poll_fd, operation, fd, event);
}

int __wrap_fcntl(int fd, int command, ...)
{
    va_list rest;
    int argument;

    va_start(rest, command);
    argument = command == F_DUPFD_CLOEXEC ? va_arg(rest, int) : 0;
    va_end(rest);
    return command == F_DUPFD_CLOEXEC && is_refused() ? -1 : __real_fcntl(fd, command, argument);
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    if (accept_error == 0)
        return __real_accept4(fd, address, size, flags);
    errno = accept_error;
    return -1;
}

enum { CLIENTS = 4, ROOM = 3 * BLOB_SIZE };

static char blob_answer[sizeof BLOB_HEAD - 1 + BLOB_SIZE];

static struct client {
    const char *brought; /* when the lane adopts it; and more in the first and second round */
    const char *said;
    const char *said_later;
    const char *answers; /* B: a blob, T: a tag, R: a range; the rest is handed over */
    int fd;
    int has_ended;
    size_t heard;
    char *got;
} clients[CLIENTS] = {
    {.brought = "", .said = GET_BLOB GET_TAG, .said_later = GET_BLOB RANGE, .answers = "BTBR"},
    {.brought = "GET /v2/a/man", .said = "", .said_later = "ifests/t" HOST "\r\n", .answers = "T"},
    {.brought = "", .said = GET_TAG GET_OTHER, .said_later = GET_TAG, .answers = "T"},
    {.brought = RANGE "GET", .said = "", .said_later = "\r\n", .answers = "R"},
};

static void begin_client(struct client *client)
{
    int pair[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    client->fd = pair[1];
    client->heard = 0;
    client->has_ended = 0;
    say(client->fd, client->said);
    if (fr_lane_adopt(&lane, pair[0], "a", 0, client->brought, strlen(client->brought), 0) != 0) {
        CHECK(errno == ENOMEM);
        close(pair[0]);
    }
}

/* What it heard is a part of the answers from the first on; returns whether it is all. */
static int check_heard(struct client *client)
{
    size_t at = 0;

    blank_dates(client->got, client->heard);
    for (const char *kind = client->answers; *kind; kind++) {
        const char *answer = *kind == 'B' ? blob_answer : *kind == 'T' ? TAG : RANGE_HEAD;
        size_t size = *kind == 'B' ? sizeof blob_answer : strlen(answer);
        size_t left = client->heard - at;
        CHECK(memcmp(client->got + at, answer, left < size ? left : size) == 0);
        if (left < size)
            return 0;
        at += size;
        if (*kind != 'R')
            continue;
        char bytes[2] = {byte_at(1), byte_at(2)};
        left = client->heard - at;
        CHECK(memcmp(client->got + at, bytes, left < 2 ? left : 2) == 0);
        if (left < 2)
            return 0;
        at += 2;
    }
    CHECK(at == client->heard);
    return 1;
}

static void follow_events(void)
{
    fr_event events[FR_MAX_EVENTS];
    size_t count = lane.event_count;

    memcpy(events, lane.events, count * sizeof *events);
    for (size_t i = 0; i < count; i++) {
        fr_connection *c = events[i].connection;
        if (events[i].kind == FR_COLD_READ) {
            is_disk_cold = 0;
            fr_lane_resume(&lane, c);
            follow_events();
            continue;
        }
        fr_connection_take(c);
        close(c->fd);
        fr_connection_free(c);
    }
}

static void publish_all(int blob)
{
    fr_draft range = draft_of_file("", RANGE_HEAD, blob, 1, 2);

    publish(GET_TAG, TAG_HEAD, "body");
    publish_blob(blob);
    fr_lane_publish(&lane, RANGE, strlen(RANGE), &range);
    publish(GET_TAG, TAG_HEAD, "body");
}

static void run_session(int blob)
{
    publish_all(blob);
    for (size_t i = 0; i < CLIENTS; i++)
        begin_client(&clients[i]);
    is_disk_cold = 1;
    for (int round = 0; round < 60; round++) {
        fr_lane_turn(&lane);
        follow_events();
        for (size_t i = 0; i < CLIENTS; i++) {
            struct client *client = &clients[i];
            if (round == 1)
                send(client->fd, client->said_later, strlen(client->said_later), MSG_NOSIGNAL);
            client->heard += hear(client->fd, client->got + client->heard, ROOM - client->heard,
                                  &client->has_ended);
        }
        check_lists(0);
    }
    age(FR_BEGINNING, HEAD_TIMEOUT);
    fr_lane_tick(&lane);
    follow_events();
}

/* Returns how often something was asked for. */
static size_t check_session(int blob, size_t first, size_t last)
{
    fr_lane_settings settings = {HEAD_TIMEOUT, IDLE_TIMEOUT, SEND_TIMEOUT, 1};

    first_refused = first;
    last_refused = last;
    asked = 0;
    is_counting = 1;
    if (fr_lane_init(&lane, &settings) == 0) {
        run_session(blob);
        is_counting = 0;
        for (size_t i = 0; i < CLIENTS; i++) {
            CHECK(check_heard(&clients[i]) || clients[i].has_ended);
            close(clients[i].fd);
        }
        for (int i = 0; i < 3; i++)
            turn();
        CHECK(lane.connections.count == 0);
        fr_lane_free(&lane);
    }
    is_counting = 0;
    return asked;
}

static void check_descriptors(int blob)
{
    for (int fd = 3; fd < 100; fd++)
        CHECK(fd == blob || !is_open(fd));
}

/* A security module's refusal leaves the client in the queue: to try again would never end. */
static void test_an_accept_that_is_forbidden_is_not_repeated(void)
{
    open_lane();
    accept_error = EPERM;
    CHECK(fr_lane_accept(&lane, -1, 0) == -1 && errno == EPERM);
    accept_error = 0;
    close_lane();
}

int main(void)
{
    int blob;

    signal(SIGPIPE, SIG_IGN);
    for (int fd = 3; fd < 100; fd++)
        close(fd); /* what whoever started this left open */
    blob = make_file("blob", BLOB_SIZE);
    memcpy(blob_answer, BLOB_HEAD, strlen(BLOB_HEAD));
    fill(blob_answer + strlen(BLOB_HEAD), BLOB_SIZE, 0);
    for (size_t i = 0; i < CLIENTS; i++)
        CHECK((clients[i].got = malloc(ROOM)) != NULL);
    test_an_accept_that_is_forbidden_is_not_repeated();
    size_t count = check_session(blob, SIZE_MAX, SIZE_MAX);
    CHECK(count > 20 && lane.lines.lost == 0);
    for (size_t n = 1; n <= count; n++) {
        check_session(blob, n, n);
        check_session(blob, n, SIZE_MAX);
        check_descriptors(blob);
    }
    for (size_t i = 0; i < CLIENTS; i++)
        free(clients[i].got);
    puts("ok");
    return 0;
}
