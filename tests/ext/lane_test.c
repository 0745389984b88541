/* The lane under sanitizers: requests and their answers. */
#define _GNU_SOURCE
#include "lane_given.h"

static void test_a_published_answer_is_given_again_and_again(void)
{
    open_lane();
    CHECK(publish(GET_TAG, TAG_HEAD, "body") == 0);
    int client = connect_client();
    for (uint64_t i = 1; i <= 3; i++) {
        turn();
        HEARS(client, "");
        say(client, GET_TAG);
        turn();
        HEARS(client, TAG);
        CHECK(lane.answered == i && lists[FR_IDLE].first->has_served);
    }
    close(client);
    turn();
    CHECK(lane.connections.count == 0);
    close_lane();
}

static void test_the_answer_has_the_date_of_the_moment(void)
{
    char got[256];
    int has_ended;

    open_lane();
    CHECK(publish(GET_TAG, TAG_HEAD, "body") == 0);
    int client = connect_client();
    say(client, GET_TAG);
    turn();
    CHECK(hear(client, got, sizeof got, &has_ended) == strlen(TAG));
    CHECK(memcmp(got + strlen("HTTP/1.1 200 OK\r\nDate: "), lane.clock.date, FR_DATE_SIZE) == 0);
    CHECK(strlen(lane.clock.date) == FR_DATE_SIZE && strcmp(lane.clock.date, DATE) != 0);
    close(client);
    close_lane();
}

static void test_a_request_may_be_split_at_every_byte(void)
{
    open_lane();
    CHECK(publish(GET_TAG, TAG_HEAD, "body") == 0);
    for (size_t cut = 1; cut < strlen(GET_TAG); cut++) {
        int client = connect_client();
        CHECK(send(client, GET_TAG, cut, 0) == (ssize_t)cut);
        turn();
        CHECK(lists[FR_BEGINNING].last->received_size == cut);
        say(client, GET_TAG + cut);
        turn();
        HEARS(client, TAG);
        close(client);
    }
    int slow = connect_client();
    for (const char *at = GET_TAG; *at; at++) {
        CHECK(send(slow, at, 1, 0) == 1);
        turn();
    }
    HEARS(slow, TAG);
    close(slow);
    close_lane();
}

static void test_only_the_very_same_request_is_answered(void)
{
    static const char *const REQUESTS[] = {
        "HEAD /v2/a/manifests/t" HOST "\r\n",
        "GET /v2/a/manifests/t?ns=b" HOST "\r\n",
        "GET /v2/a/manifests/T" HOST "\r\n",
        "GET /v2/a/manifests/t" HOST "Authorization: Basic YTpi\r\n\r\n",
        "GET /v2/a/manifests/t" HOST "If-None-Match: \"sha256:ab\"\r\n\r\n",
        "GET /v2/a/manifests/t" HOST "Range: bytes=0-1\r\n\r\n",
        "GET /v2/a/manifests/t HTTP/1.0\r\nHost: reg\r\n\r\n",
        "POST /v2/a/manifests/t" HOST "Content-Length: 3\r\n\r\nabc",
        "GET  /",
    };

    open_lane();
    CHECK(publish(GET_TAG, TAG_HEAD, "body") == 0);
    for (size_t i = 0; i < COUNT(REQUESTS); i++) {
        int client = connect_client();
        say(client, REQUESTS[i]);
        fr_lane_turn(&lane);
        HANDS_OVER(REQUESTS[i]);
        HEARS_AND_ENDS(client, "");
    }
    CHECK(publish(REQUESTS[3], TAG_HEAD, "auth") == 0);
    CHECK(publish(REQUESTS[0], TAG_HEAD, NULL) == 0);
    int client = connect_client();
    say(client, "GET /v2/a/manifests/t" HOST "X: y\r\nAuthorization: Basic YTpi\r\n\r\n");
    say(client, REQUESTS[0]);
    say(client, GET_TAG);
    turn();
    HEARS(client, TAG_HEAD "auth" TAG_HEAD TAG);
    close(client);
    close_lane();
}

static void test_what_cannot_be_asked_again_is_not_published(void)
{
    char *large = malloc(FR_MAX_ANSWER_HEAD + 2);

    memset(large, 'x', FR_MAX_ANSWER_HEAD + 1);
    memcpy(large, TAG_HEAD, strlen(TAG_HEAD) - 4);
    large[FR_MAX_ANSWER_HEAD + 1] = 0;
    open_lane();
    CHECK(publish("GET /v2/_catalog" HOST "\r\n", TAG_HEAD, "body") == -1);
    CHECK(publish("GET /v2/a/manifests/t" HOST "Range: bytes=0-1\r\n\r\n", TAG_HEAD, "b") == -1);
    CHECK(publish("POST /v2/a/manifests/t" HOST "\r\n", TAG_HEAD, "body") == -1);
    CHECK(publish("GET /v2/a/manifests/t" HOST, TAG_HEAD, "body") == -1);
    CHECK(publish(GET_TAG "G", TAG_HEAD, "body") == -1);
    CHECK(publish(GET_TAG, large, "body") == -1);
    CHECK(publish(GET_TAG, "HTTP/1.1 200 OK\r\n\r\n", "body") == -1);
    CHECK(lane.table.answers == 0);
    free(large);
    close_lane();
}

static void test_a_handover_has_all_that_was_sent_behind_what_is_answered(void)
{
    static const char POST[] = "POST /v2/a/blobs/uploads/" HOST "Content-Length: 9\r\n\r\npart";

    open_lane();
    CHECK(publish(GET_TAG, TAG_HEAD, "body") == 0);
    int client = connect_client();
    say(client, GET_TAG GET_TAG);
    say(client, POST);
    say(client, GET_TAG);
    fr_lane_turn(&lane);
    CHECK(lane.connections.count == 1);
    fr_connection *c = lane.events[0].connection;
    CHECK(c->has_served && c->listener == 7 && strcmp(c->address, "192.0.2.1") == 0);
    char expected[sizeof POST + sizeof GET_TAG];
    snprintf(expected, sizeof expected, "%s%s", POST, GET_TAG);
    int fd = taken(expected, strlen(expected));
    HEARS(client, TAG TAG);
    CHECK(fr_lane_adopt(&lane, fd, "192.0.2.1", 7, GET_TAG, strlen(GET_TAG), 1) == 0);
    turn();
    HEARS(client, TAG);
    close(client);
    close_lane();
}

static void say_many(int client, const char *text, int times)
{
    while (times-- > 0)
        say(client, text);
}

static size_t count_heard(int client, int *has_ended)
{
    char *got = malloc(1 << 20);
    size_t size = hear(client, got, 1 << 20, has_ended);

    CHECK(size % strlen(TAG) == 0);
    free(got);
    return size / strlen(TAG);
}

/* How many lines of the access log there are up to the first with `text`. */
static size_t lines_before(const char *text)
{
    const char *at = lane.lines.data, *end = memmem(at, lane.lines.size, text, strlen(text));
    size_t count = 0;

    CHECK(end != NULL);
    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        count++;
    }
    return count;
}

static void test_one_client_cannot_take_a_turn_for_itself(void)
{
    size_t heard = 0;
    int has_ended = 0;

    open_lane();
    CHECK(publish(GET_TAG, TAG_HEAD, "body") == 0);
    int greedy = connect_client(), modest = connect_client();
    say_many(greedy, GET_TAG, 100);
    say(modest, "GET /v2/a/manifests/t" HOST "User-Agent: modest\r\n\r\n");
    turn();
    HEARS(modest, TAG);
    CHECK(lines_before("modest") == 16);
    for (int i = 0; i < 10; i++, turn())
        heard += count_heard(greedy, &has_ended);
    CHECK(heard == 100 && !has_ended && lane.answered == 101);
    close(greedy), close(modest);
    close_lane();
}

static void test_the_end_of_what_is_sent_comes_after_the_answers(void)
{
    int has_ended;

    open_lane();
    CHECK(publish(GET_TAG, TAG_HEAD, "body") == 0);
    for (int times = 1; times <= 50; times += 7) {
        int client = connect_client();
        say_many(client, GET_TAG, times);
        say(client, "GET /v2/a/ma");
        CHECK(shutdown(client, SHUT_WR) == 0);
        for (int i = 0; i < 10; i++)
            turn();
        CHECK(count_heard(client, &has_ended) == (size_t)times && has_ended);
        CHECK(lane.connections.count == 0);
        close(client);
    }
    int silent = connect_client(), other = connect_client();
    CHECK(shutdown(silent, SHUT_WR) == 0);
    say(other, GET_OTHER);
    CHECK(shutdown(other, SHUT_WR) == 0);
    fr_lane_turn(&lane);
    HANDS_OVER(GET_OTHER);
    HEARS_AND_ENDS(silent, "");
    HEARS_AND_ENDS(other, "");
    close_lane();
}

static void test_adopted_bytes_are_answered_however_many(void)
{
    enum { TIMES = 3000 };
    size_t size = TIMES * strlen(GET_TAG), heard = 0;
    char *data = malloc(size + 1);
    int has_ended;

    for (size_t i = 0; i < TIMES; i++)
        memcpy(data + i * strlen(GET_TAG), GET_TAG, strlen(GET_TAG) + 1);
    CHECK(size > 2 * 65536);
    open_lane();
    CHECK(publish(GET_TAG, TAG_HEAD, "body") == 0);
    int client = adopt(data, size, 1), half = adopt(GET_TAG, 10, 1), idle = adopt(NULL, 0, 1);
    CHECK(lists[FR_IDLE].first == lists[FR_IDLE].last && lane.connections.count == 3);
    say(half, GET_TAG + 10);
    for (int i = 0; i < TIMES && heard < TIMES; i++) {
        turn();
        heard += count_heard(client, &has_ended);
    }
    CHECK(heard == TIMES);
    HEARS(half, TAG);
    free(data);
    data = malloc(70000);
    memset(data, 'x', 70000); /* no head, and more than is received at once */
    close(client);
    client = adopt(data, 70000, 1);
    fr_lane_turn(&lane);
    CHECK(close(taken(data, 70000)) == 0);
    free(data);
    close(client), close(half), close(idle);
    close_lane();
}

static void test_a_head_is_handed_over_where_it_cannot_be_one(void)
{
    char *long_head = malloc(FR_MAX_HEAD + 100);

    open_lane();
    memset(long_head, 'x', FR_MAX_HEAD + 100);
    memcpy(long_head, GET_TAG, strlen(GET_TAG) - 2);
    memcpy(long_head + strlen(GET_TAG) - 2, "X: ", 3);
    for (size_t size = FR_MAX_HEAD - 1; size <= FR_MAX_HEAD + 99; size += 100) {
        int client = connect_client();
        CHECK(send(client, long_head, size, 0) == (ssize_t)size);
        fr_lane_turn(&lane);
        if (size < FR_MAX_HEAD) {
            CHECK(lane.event_count == 0);
            CHECK(send(client, "x", 1, 0) == 1);
            fr_lane_turn(&lane);
            CHECK(close(taken(long_head, size + 1)) == 0);
        } else
            CHECK(close(taken(long_head, size)) == 0);
        close(client);
    }
    free(long_head);
    close_lane();
}

/* The last quarter of its time. */
static void test_one_request_renews_an_answer_before_its_end(void)
{
    fr_draft draft = draft_of("", TAG_HEAD, "body");

    open_lane();
    draft.until = lane.clock.now_ms + 40000;
    CHECK(fr_lane_publish(&lane, GET_TAG, strlen(GET_TAG), &draft) == 0);
    CHECK(lane.table.newest->renew >= draft.until - 10000);
    CHECK(lane.table.newest->renew < draft.until - 9000);
    int client = connect_client();
    lane.table.newest->renew = lane.clock.now_ms;
    say(client, GET_TAG);
    fr_lane_turn(&lane);
    HANDS_OVER(GET_TAG);
    close(client);
    client = connect_client();
    say(client, GET_TAG);
    turn();
    HEARS(client, TAG);
    lane.table.newest->until = lane.clock.now_ms;
    say(client, GET_TAG);
    fr_lane_turn(&lane);
    HANDS_OVER(GET_TAG);
    close(client);
    close_lane();
}

static void test_answers_are_logged_where_the_log_is_on(void)
{
    char expected[512];

    open_lane();
    CHECK(publish(GET_TAG, TAG_HEAD, "body") == 0);
    int client = connect_client();
    say(client, "GET /v2/a/manifests/t" HOST "User-Agent: docker/1\r\nReferer: r\r\n\r\n");
    turn();
    HEARS(client, TAG);
    snprintf(expected, sizeof expected,
             "192.0.2.1 - - [%s] \"GET /v2/a/manifests/t HTTP/1.1\" 200 4 \"r\" \"docker/1\"\n",
             lane.lines.time);
    CHECK(lane.lines.size == strlen(expected));
    CHECK(memcmp(lane.lines.data, expected, lane.lines.size) == 0);
    lane.lines.size = 0;
    lane.settings.logs_access = 0;
    say(client, GET_TAG);
    turn();
    HEARS(client, TAG);
    CHECK(lane.lines.size == 0 && lane.answered == 2);
    close(client);
    close_lane();
}

int main(void)
{
    test_a_published_answer_is_given_again_and_again();
    test_the_answer_has_the_date_of_the_moment();
    test_a_request_may_be_split_at_every_byte();
    test_only_the_very_same_request_is_answered();
    test_what_cannot_be_asked_again_is_not_published();
    test_a_handover_has_all_that_was_sent_behind_what_is_answered();
    test_one_client_cannot_take_a_turn_for_itself();
    test_the_end_of_what_is_sent_comes_after_the_answers();
    test_adopted_bytes_are_answered_however_many();
    test_a_head_is_handed_over_where_it_cannot_be_one();
    test_one_request_renews_an_answer_before_its_end();
    test_answers_are_logged_where_the_log_is_on();
    puts("ok");
    return 0;
}
