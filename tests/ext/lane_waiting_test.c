/* The lane under sanitizers: connections that come, wait and end. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "lane_given.h"

static void tick(void)
{
    fr_lane_tick(&lane);
    CHECK(lane.event_count == 0);
    check_lists(0);
}

static void test_idle_connections_end_in_order(void)
{
    open_lane();
    int old = adopt(NULL, 0, 1);
    age(FR_IDLE, IDLE_TIMEOUT / 2);
    int young = adopt(NULL, 0, 1);
    tick();
    CHECK(lane.connections.count == 2);
    age(FR_IDLE, IDLE_TIMEOUT / 2);
    tick();
    HEARS_AND_ENDS(old, "");
    HEARS(young, "");
    age(FR_IDLE, IDLE_TIMEOUT / 2);
    tick();
    HEARS_AND_ENDS(young, "");
    CHECK(lane.connections.count == 0);
    close_lane();
}

static void test_an_answer_makes_a_connection_idle_anew(void)
{
    open_lane();
    CHECK(publish(GET_TAG, TAG_HEAD, "body") == 0);
    int used = adopt(NULL, 0, 1), unused = adopt(NULL, 0, 1);
    age(FR_IDLE, IDLE_TIMEOUT);
    say(used, GET_TAG);
    turn();
    tick();
    HEARS(used, TAG);
    HEARS_AND_ENDS(unused, "");
    close(used);
    close_lane();
}

static void test_the_first_head_has_its_time_from_the_accept(void)
{
    open_lane();
    int silent = connect_client(), slow = connect_client();
    age(FR_BEGINNING, HEAD_TIMEOUT - 10);
    say(slow, "GET /v2/");
    turn();
    tick();
    CHECK(lane.connections.count == 2);
    age(FR_BEGINNING, 10);
    fr_lane_tick(&lane);
    HEARS_AND_ENDS(silent, "");
    CHECK(lane.event_count == 1);
    CHECK(fr_lane_waited_ms(&lane, lane.events[0].connection) >= HEAD_TIMEOUT);
    HANDS_OVER("GET /v2/");
    close(slow);
    close_lane();
}

static void test_a_later_head_has_its_time_from_its_first_byte(void)
{
    open_lane();
    int client = adopt(NULL, 0, 1);
    age(FR_IDLE, IDLE_TIMEOUT - 10);
    say(client, "GET /v2/");
    turn();
    CHECK(fr_lane_waited_ms(&lane, lists[FR_BEGINNING].first) < HEAD_TIMEOUT);
    age(FR_BEGINNING, HEAD_TIMEOUT - 500);
    say(client, "a/manifests/other" HOST "\r\n");
    fr_lane_turn(&lane);
    CHECK(fr_lane_waited_ms(&lane, lane.events[0].connection) >= HEAD_TIMEOUT - 500);
    HANDS_OVER(GET_OTHER);
    close(client);
    close_lane();
}

/* Take as many out as are handed over. */
static void take_all(void)
{
    check_lists(lane.event_count);
    for (size_t i = 0; i < lane.event_count; i++) {
        fr_connection *c = lane.events[i].connection;
        CHECK(lane.events[i].kind == FR_HANDOVER);
        fr_connection_take(c);
        close(c->fd);
        fr_connection_free(c);
    }
}

static void test_more_may_be_handed_over_than_events_have_room(void)
{
    enum { CLIENTS = FR_MAX_EVENTS + 20 };
    static int clients[CLIENTS];

    open_lane();
    for (int times_out = 0; times_out <= 1; times_out++) {
        for (size_t i = 0; i < CLIENTS; i++) {
            clients[i] = connect_client();
            say(clients[i], times_out ? "GET" : GET_OTHER);
        }
        for (int i = 0; i < 10; i++) {
            fr_lane_turn(&lane);
            take_all();
        }
        CHECK(lane.connections.count == (times_out ? CLIENTS : 0));
        age(FR_BEGINNING, HEAD_TIMEOUT);
        for (int i = 0; i < 2; i++) {
            fr_lane_tick(&lane);
            take_all();
        }
        CHECK(lane.connections.count == 0);
        for (size_t i = 0; i < CLIENTS; i++)
            HEARS_AND_ENDS(clients[i], "");
    }
    close_lane();
}

static void test_a_tick_closes_unused_files(void)
{
    open_lane();
    int fd = make_file("blob", BLOB_SIZE);
    CHECK(publish_blob(fd) == 0 && publish(GET_TAG, TAG_HEAD, "body") == 0);
    tick();
    CHECK(lane.table.files == 1);
    lane.table.oldest->last_used -= 3600;
    tick();
    CHECK(lane.table.files == 0 && lane.table.answers == 1);
    close(fd);
    close_lane();
}

static void test_after_a_drain_all_is_handed_over(void)
{
    open_lane();
    CHECK(publish(GET_TAG, TAG_HEAD, "body") == 0);
    int client = connect_client(), half = connect_client();
    say(half, "GET");
    turn();
    fr_lane_drain(&lane);
    turn();
    CHECK(lane.connections.count == 2);
    say(client, GET_TAG);
    fr_lane_turn(&lane);
    HANDS_OVER(GET_TAG);
    close(client), close(half);
    close_lane();
}

static int listen_on(const struct sockaddr *address, socklen_t size)
{
    int one = 1, fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)address;
        int v6_only = !IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
        CHECK(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only) == 0);
    }
    CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
    if (bind(fd, address, size) != 0 || listen(fd, 8) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A client of `listener`, which shows as `shown` once it is accepted. */
static int accept_one(int listener, const struct sockaddr *address, socklen_t size,
                      const char *shown)
{
    int client = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int accepted;

    CHECK(client >= 0 && fr_lane_accept(&lane, listener, 3) == 0);
    CHECK(connect(client, address, size) == 0);
    CHECK(fcntl(client, F_SETFL, O_NONBLOCK) == 0);
    do
        accepted = fr_lane_accept(&lane, listener, 3);
    while (accepted == 0);
    CHECK(accepted == 1 && fr_lane_accept(&lane, listener, 3) == 0);
    fr_connection *c = lists[FR_BEGINNING].last;
    CHECK(strcmp(c->address, shown) == 0 && c->listener == 3 && !c->has_served);
    CHECK(fcntl(c->fd, F_GETFD) == FD_CLOEXEC && fcntl(c->fd, F_GETFL) & O_NONBLOCK);
    return client;
}

static struct sockaddr_in local_v4(void)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void test_an_ipv4_client_has_its_address(void)
{
    struct sockaddr_in v4 = local_v4();
    socklen_t size = sizeof v4;

    open_lane();
    int listener = listen_on((const void *)&v4, size);
    CHECK(listener >= 0 && getsockname(listener, (void *)&v4, &size) == 0);
    close(accept_one(listener, (const void *)&v4, size, "127.0.0.1"));
    close(listener);
    CHECK(fr_lane_accept(&lane, listener, 3) == -1 && errno == EBADF);
    close_lane();
}

/* Returns 0 where there is no IPv6. */
static int test_an_ipv6_client_has_its_address(void)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t size = sizeof v6;
    int listener = listen_on((const void *)&v6, size);

    if (listener < 0)
        return 0;
    open_lane();
    CHECK(getsockname(listener, (void *)&v6, &size) == 0);
    close(accept_one(listener, (const void *)&v6, size, "::1"));
    close(listener);
    v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    listener = listen_on((const void *)&v6, size);
    CHECK(listener >= 0 && getsockname(listener, (void *)&v6, &size) == 0);
    struct sockaddr_in v4 = local_v4();
    v4.sin_port = v6.sin6_port;
    close(accept_one(listener, (const void *)&v4, sizeof v4, "127.0.0.1")); /* it was mapped */
    close(listener);
    close_lane();
    return 1;
}

static void test_a_unix_client_has_none(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "socket"};

    open_lane();
    unlink(name.sun_path);
    int listener = listen_on((const void *)&name, sizeof name);
    CHECK(listener >= 0);
    close(accept_one(listener, (const void *)&name, sizeof name, ""));
    close(listener);
    close_lane();
}

/* What was sent before arrives, whether it was received by then or not. */
static void test_dropping_idle_connections_loses_nothing_sent(void)
{
    struct sockaddr_in v4 = local_v4();
    socklen_t size = sizeof v4;
    int clients[4];

    open_lane();
    int listener = listen_on((const void *)&v4, size);
    CHECK(listener >= 0 && getsockname(listener, (void *)&v4, &size) == 0);
    for (size_t i = 0; i < COUNT(clients); i++)
        clients[i] = accept_one(listener, (const void *)&v4, size, "127.0.0.1");
    int idle = clients[0], sending = clients[1], half = clients[2], recent = clients[3];
    say(half, "GET");
    turn();
    age(FR_BEGINNING, 500);
    lists[FR_BEGINNING].last->since_ms += 500;
    say(sending, GET_OTHER);
    fr_lane_drain(&lane);
    fr_lane_drop_idle(&lane, 500);
    fr_lane_turn(&lane);
    HANDS_OVER(GET_OTHER);
    HEARS_AND_ENDS(idle, "");
    HEARS(half, "");
    HEARS(recent, "");
    CHECK(lane.connections.count == 2);
    fr_lane_drop_idle(&lane, 0);
    turn();
    HEARS_AND_ENDS(recent, "");
    CHECK(lane.connections.count == 1);
    close(half), close(sending), close(listener);
    close_lane();
}

int main(void)
{
    test_idle_connections_end_in_order();
    test_an_answer_makes_a_connection_idle_anew();
    test_the_first_head_has_its_time_from_the_accept();
    test_a_later_head_has_its_time_from_its_first_byte();
    test_more_may_be_handed_over_than_events_have_room();
    test_a_tick_closes_unused_files();
    test_after_a_drain_all_is_handed_over();
    test_an_ipv4_client_has_its_address();
    test_a_unix_client_has_none();
    test_dropping_idle_connections_loses_nothing_sent();
    if (!test_an_ipv6_client_has_its_address()) {
        fputs("this machine has no IPv6\n", stderr);
        return 77; /* all else holds */
    }
    puts("ok");
    return 0;
}
