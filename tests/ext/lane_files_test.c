/* The lane under sanitizers: answers whose body is a file, sent in pieces. */
#define _GNU_SOURCE
#include "lane_given.h"

#define RANGE_HEAD(range, length)                                        \
    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " range "\r\n" \
    "Content-Length: " length "\r\nDate: " DATE "\r\n\r\n"
#define GET_RANGE(range) \
    "GET /v2/a/blobs/sha256:" HEX_64 HOST "User-Agent: d\r\nRange: bytes=" range "\r\n\r\n"

enum { WHOLE_SIZE = sizeof BLOB_HEAD - 1 + BLOB_SIZE };

static int blob; /* the file, as the application has it open */

static void open_lane_with_blob(void)
{
    open_lane();
    blob = make_file("blob", BLOB_SIZE);
    CHECK(publish_blob(blob) == 0);
    CHECK(publish(GET_TAG, TAG_HEAD, "body") == 0);
}

static void close_lane_with_blob(void)
{
    close_lane();
    close(blob);
}

/* Take turns until nothing more comes; returns the size of what came. */
static size_t hear_all(int client, char *out, size_t room, int *has_ended)
{
    size_t size = 0, more;

    do {
        turn();
        more = hear(client, out + size, room - size, has_ended);
        size += more;
    } while (more > 0);
    return size;
}

static void check_blobs(char *got, size_t size, size_t times)
{
    char *expected = malloc(BLOB_SIZE);

    fill(expected, BLOB_SIZE, 0);
    CHECK(size == times * WHOLE_SIZE);
    for (; times > 0; times--, got += WHOLE_SIZE) {
        blank_dates(got, 200);
        CHECK(memcmp(got, BLOB_HEAD, strlen(BLOB_HEAD)) == 0);
        CHECK(memcmp(got + strlen(BLOB_HEAD), expected, BLOB_SIZE) == 0);
    }
    free(expected);
}

static void test_pipelined_files_follow_each_other(int buffer_size)
{
    enum { TIMES = 5 };
    char *got = malloc(TIMES * WHOLE_SIZE + 100);
    int has_ended;

    open_lane_with_blob();
    int client = connect_client();
    if (buffer_size > 0)
        CHECK(setsockopt(lists[FR_BEGINNING].first->fd, SOL_SOCKET, SO_SNDBUF, &buffer_size,
                         sizeof buffer_size) == 0);
    for (int i = 0; i < TIMES; i++)
        say(client, GET_BLOB);
    say(client, GET_TAG);
    say(client, "GET /");
    size_t size = hear_all(client, got, TIMES * WHOLE_SIZE + 100, &has_ended);
    CHECK(!has_ended && lane.answered == TIMES + 1 && size > strlen(TAG));
    size -= strlen(TAG);
    blank_dates(got + size, strlen(TAG));
    CHECK(memcmp(got + size, TAG, strlen(TAG)) == 0);
    check_blobs(got, size, TIMES);
    CHECK(lists[FR_BEGINNING].first->received_size == 5);
    free(got);
    close(client);
    close_lane_with_blob();
}

static void test_a_request_behind_a_file_is_handed_over_after_it(void)
{
    char *got = malloc(WHOLE_SIZE);
    size_t size = 0;
    int has_ended;

    open_lane_with_blob();
    int client = connect_client();
    say(client, GET_BLOB GET_OTHER GET_TAG);
    do {
        fr_lane_turn(&lane);
        size += hear(client, got + size, WHOLE_SIZE - size, &has_ended);
    } while (lane.event_count == 0);
    size += hear(client, got + size, WHOLE_SIZE - size, &has_ended);
    check_blobs(got, size, 1);
    HANDS_OVER(GET_OTHER GET_TAG);
    free(got);
    close(client);
    close_lane_with_blob();
}

static void test_what_is_being_sent_outlives_its_publication(void)
{
    char *got = malloc(WHOLE_SIZE + 1);
    int has_ended;

    open_lane_with_blob();
    int client = connect_client();
    say(client, GET_BLOB);
    turn();
    CHECK(lists[FR_SENDING_LIST].first != NULL);
    CHECK(publish(GET_BLOB, TAG_HEAD, "body") == 0);
    fr_lane_drain(&lane);
    CHECK(lane.table.answers == 0);
    size_t size = hear_all(client, got, WHOLE_SIZE + 1, &has_ended);
    check_blobs(got, size, 1);
    say(client, GET_BLOB);
    fr_lane_turn(&lane);
    HANDS_OVER(GET_BLOB);
    free(got);
    close(client);
    close_lane_with_blob();
}

static void test_ranges_are_answered_from_one(void)
{
    fr_draft draft;

    open_lane_with_blob();
    draft = draft_of_file("", RANGE_HEAD("2-3/100", "2"), blob, 2, 2);
    CHECK(fr_lane_publish(&lane, GET_RANGE("2-3"), strlen(GET_RANGE("2-3")), &draft) == 0);
    int client = connect_client();
    say(client, GET_RANGE("0-0") GET_RANGE("97-") GET_RANGE("98-1000"));
    turn();
    char expected[1024];
    snprintf(expected, sizeof expected, "%s%c%s%c%c%c%s%c%c", RANGE_HEAD("0-0/100", "1"),
             byte_at(0), RANGE_HEAD("97-99/100", "3"), byte_at(97), byte_at(98), byte_at(99),
             RANGE_HEAD("98-99/100", "2"), byte_at(98), byte_at(99));
    HEARS(client, expected);
    say(client, GET_RANGE("5-5") GET_RANGE("100-"));
    fr_lane_turn(&lane);
    HANDS_OVER(GET_RANGE("100-"));
    close(client);
    close_lane_with_blob();
}

static fr_connection *cold_read(void)
{
    fr_lane_turn(&lane);
    check_lists(0);
    CHECK(lane.event_count == 1 && lane.events[0].kind == FR_COLD_READ);
    CHECK(lane.connections.count == 1);
    return lane.events[0].connection;
}

static void test_a_cold_file_is_sent_window_by_window(void)
{
    char *got = malloc(WHOLE_SIZE + 1);
    int has_ended, reads = 0;
    size_t size = 0;

    open_lane_with_blob();
    int client = connect_client();
    say(client, GET_BLOB);
    say(client, GET_TAG);
    is_disk_cold = 1;
    fr_connection *c = cold_read();
    CHECK(fr_sending_window(c->sending) == FR_WINDOW && c->sending->at == 0);
    turn(); /* nobody watches it meanwhile */
    HEARS(client, "");
    do {
        reads++;
        fr_lane_resume(&lane, c);
        while (lane.event_count == 0 && size < WHOLE_SIZE) {
            size += hear(client, got + size, WHOLE_SIZE - size, &has_ended);
            fr_lane_turn(&lane);
        }
        check_lists(0);
    } while (lane.event_count == 1 && lane.events[0].connection == c);
    CHECK(reads == 2);
    check_blobs(got, size, 1);
    turn();
    HEARS(client, TAG);
    free(got);
    close(client);
    close_lane_with_blob();
}

static void test_a_client_may_leave_while_the_disk_is_read(void)
{
    open_lane_with_blob();
    int client = connect_client();
    say(client, GET_BLOB);
    is_disk_cold = 1;
    fr_connection *c = cold_read();
    close(client);
    turn();
    fr_lane_resume(&lane, c);
    CHECK(lane.event_count == 0 && lane.connections.count == 0 && lane.lines.size > 0);
    close_lane_with_blob();
}

static void test_a_read_may_end_after_the_lane(void)
{
    open_lane_with_blob();
    int client = connect_client();
    say(client, GET_BLOB);
    is_disk_cold = 1;
    fr_connection *c = cold_read();
    int held = c->sending->answer->fd;
    close_lane_with_blob();
    HEARS_AND_ENDS(client, "");
    CHECK(is_open(held));
    fr_connection_free(c);
    CHECK(!is_open(held));
}

static void test_what_is_not_sent_in_the_end_is_logged_and_cut(void)
{
    char *got = malloc(WHOLE_SIZE);
    int has_ended;

    open_lane_with_blob();
    int sending = connect_client(), idle = connect_client();
    say(sending, GET_BLOB);
    turn();
    int waiting = connect_client();
    say(waiting, GET_BLOB);
    is_disk_cold = 1;
    fr_lane_turn(&lane);
    CHECK(lane.event_count == 1 && lists[FR_SENDING_LIST].first != NULL);
    fr_connection *c = lane.events[0].connection;
    fr_lane_cut_sending(&lane);
    check_lists(0);
    CHECK(lane.connections.count == 2 && lists[FR_READING].first == c);
    CHECK(memmem(lane.lines.data, lane.lines.size, " 200 0 ", 7) != NULL);
    CHECK(memchr(lane.lines.data, '\n', lane.lines.size - 1) != NULL); /* two lines */
    CHECK(hear(sending, got, WHOLE_SIZE, &has_ended) < WHOLE_SIZE && has_ended);
    close_lane_with_blob();
    fr_connection_free(c);
    free(got);
    close(sending), close(idle), close(waiting);
}

static void test_a_file_cut_short_cuts_the_connection(void)
{
    char *got = malloc(WHOLE_SIZE);
    int has_ended;

    open_lane_with_blob();
    int client = connect_client();
    say(client, GET_BLOB GET_TAG);
    turn();
    CHECK(ftruncate(blob, 1000) == 0);
    CHECK(hear_all(client, got, WHOLE_SIZE, &has_ended) < WHOLE_SIZE && has_ended);
    CHECK(lane.connections.count == 0 && lane.answered == 0 && lane.lines.size > 0);
    CHECK(memcmp(lane.lines.data, "192.0.2.1 - - [", 15) == 0);
    free(got);
    close(client);
    close_lane_with_blob();
}

static void test_who_takes_nothing_is_cut_after_a_while(void)
{
    open_lane_with_blob();
    int stuck = connect_client(), fine = connect_client();
    say(stuck, GET_BLOB);
    turn();
    turn();
    age(FR_SENDING_LIST, SEND_TIMEOUT);
    say(fine, GET_BLOB);
    turn();
    CHECK(lists[FR_SENDING_LIST].first != lists[FR_SENDING_LIST].last);
    size_t sent = (size_t)fr_sending_sent(lists[FR_SENDING_LIST].first->sending);
    char line[256];
    fr_lane_tick(&lane);
    check_lists(0);
    CHECK(lane.connections.count == 1 && lane.event_count == 0);
    snprintf(line, sizeof line, " 200 %zu \"-\" \"-\"\n", sent);
    CHECK(sent > 0 && lane.lines.size > strlen(line));
    CHECK(memcmp(lane.lines.data + lane.lines.size - strlen(line), line, strlen(line)) == 0);
    close(stuck), close(fine);
    close_lane_with_blob();
}

/* The access log tells who was answered first: whose file ended, or who asked meanwhile. */
static void test_requests_are_answered_before_pieces_of_files(void)
{
    char *got = malloc(WHOLE_SIZE), *line;
    int has_ended;

    open_lane_with_blob();
    int bulk = connect_client(), quick = connect_client();
    say(bulk, GET_BLOB);
    turn();
    do {
        turn();
        hear(bulk, got, WHOLE_SIZE, &has_ended);
    } while (lists[FR_SENDING_LIST].first->sending->at < BLOB_SIZE - 100000);
    say(quick, GET_TAG);
    turn();
    HEARS(quick, TAG);
    CHECK(lists[FR_SENDING_LIST].first == NULL);
    line = memchr(lane.lines.data, '\n', lane.lines.size);
    CHECK(memmem(lane.lines.data, (size_t)(line - lane.lines.data), "/manifests/t", 12) != NULL);
    free(got);
    close(bulk), close(quick);
    close_lane_with_blob();
}

static void test_who_asks_for_the_end_gets_it_after_the_answer(void)
{
    static const char ASKS[] = "GET /v2/a/blobs/sha256:" HEX_64 HOST "Connection: close\r\n\r\n";
    char *got = malloc(WHOLE_SIZE + 1);
    int has_ended;

    open_lane_with_blob();
    fr_draft draft = draft_of_file("", BLOB_HEAD, blob, 0, BLOB_SIZE);
    CHECK(fr_lane_publish(&lane, ASKS, strlen(ASKS), &draft) == 0);
    int client = connect_client(), other = connect_client();
    say(client, ASKS);
    check_blobs(got, hear_all(client, got, WHOLE_SIZE + 1, &has_ended), 1);
    CHECK(has_ended && lane.connections.count == 1);
    say(other, ASKS);
    say(other, "G"); /* which whoever closes must take first */
    fr_lane_turn(&lane);
    CHECK(close(taken(got, (size_t)snprintf(got, WHOLE_SIZE, "%sG", ASKS))) == 0);
    free(got);
    close(client), close(other);
    close_lane_with_blob();
}

int main(void)
{
    test_pipelined_files_follow_each_other(0);
    test_pipelined_files_follow_each_other(1);
    test_a_request_behind_a_file_is_handed_over_after_it();
    test_what_is_being_sent_outlives_its_publication();
    test_ranges_are_answered_from_one();
    test_a_cold_file_is_sent_window_by_window();
    test_a_client_may_leave_while_the_disk_is_read();
    test_a_read_may_end_after_the_lane();
    test_what_is_not_sent_in_the_end_is_logged_and_cut();
    test_a_file_cut_short_cuts_the_connection();
    test_who_takes_nothing_is_cut_after_a_while();
    test_requests_are_answered_before_pieces_of_files();
    test_who_asks_for_the_end_gets_it_after_the_answer();
    puts("ok");
    return 0;
}
