/* One answer on its way to a socket, under sanitizers. */
#define _GNU_SOURCE
#include "sending.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "checking.h"

#define NOW_DATE "Sun, 06 Nov 1994 08:49:37 GMT"
#define HEAD "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nContent-Length: 26\r\n\r\n"
#define SENT_HEAD "HTTP/1.1 200 OK\r\nDate: " NOW_DATE "\r\nContent-Length: 26\r\n\r\n"
#define BODY "abcdefghijklmnopqrstuvwxyz"
#define TARGET "/v2/a/blobs/sha256:" HEX_64

enum { FILE_OFFSET = 3, LARGE = 2 * FR_WINDOW + 4567 };

static int ours, theirs; /* the two ends of a connection */

static void connect_pair(int buffer_size)
{
    int pair[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    ours = pair[0];
    theirs = pair[1];
    if (buffer_size > 0)
        CHECK(setsockopt(ours, SOL_SOCKET, SO_SNDBUF, &buffer_size, sizeof buffer_size) == 0);
}

static void disconnect(void)
{
    close(ours);
    close(theirs);
}

/* Take what is there; returns the size. */
static size_t take(char *out, size_t room)
{
    size_t size = 0;
    ssize_t count;

    while (size < room && (count = recv(theirs, out + size, room - size, 0)) > 0)
        size += (size_t)count;
    return size;
}

static void expect(const char *expected, size_t size)
{
    char *got = malloc(size + 1);

    CHECK(take(got, size + 1) == size && memcmp(got, expected, size) == 0);
    free(got);
}

static fr_answer *published(fr_table *t, fr_draft draft)
{
    CHECK(fr_table_init(t, 8, 8 << 20, 8) == 0);
    CHECK(fr_table_publish(t, &draft) == 0);
    return fr_table_find(t, draft.key, draft.key_size, 0);
}

static fr_answer *published_range(fr_table *t, const char *head, int fd)
{
    fr_draft draft = draft_of_file("a", head, fd, FILE_OFFSET + 5, 2);

    draft.is_range = 1;
    return published(t, draft);
}

static fr_request_head request_of(uint64_t first, uint64_t last)
{
    return (fr_request_head){
        .target = {TARGET, strlen(TARGET)},
        .user_agent = {"agent", 5},
        .has_range = 1,
        .range_first = first,
        .range_last = last,
    };
}

static void test_head_and_body_leave_together(void)
{
    fr_table t;
    fr_sending s;
    fr_request_head request = request_of(0, 0);
    fr_answer *a = published(&t, draft_of("a", HEAD, BODY));
    char scratch[FR_MAX_ANSWER_HEAD];

    connect_pair(0);
    CHECK(fr_sending_begin(&s, a, &request, NOW_DATE, scratch) == 0);
    CHECK(fr_sending_advance(&s, ours, 1) == FR_SENT && fr_sending_sent(&s) == 26);
    expect(SENT_HEAD BODY, strlen(SENT_HEAD BODY));
    disconnect();
    fr_table_free(&t);
}

static void test_a_head_alone_is_an_answer(void)
{
    fr_table t;
    fr_sending s;
    fr_request_head request = request_of(0, 0);
    fr_answer *a = published(&t, draft_of("a", HEAD, NULL));
    char scratch[FR_MAX_ANSWER_HEAD];

    connect_pair(0);
    CHECK(fr_sending_begin(&s, a, &request, NOW_DATE, scratch) == 0);
    CHECK(fr_sending_advance(&s, ours, 1) == FR_SENT && fr_sending_sent(&s) == 0);
    expect(SENT_HEAD, strlen(SENT_HEAD));
    disconnect();
    fr_table_free(&t);
}

/* Put away as if the socket had taken that much, and the table, the request and the scratch
 * gone meanwhile: what is left comes from the copy alone. */
static void check_rest(fr_draft draft, const char *whole, size_t head_size, size_t taken)
{
    fr_table t;
    fr_sending s, *away;
    fr_answer *a = published(&t, draft);
    char *scratch = malloc(FR_MAX_ANSWER_HEAD), *target = strdup(TARGET);
    fr_request_head request = request_of(0, UINT64_MAX);

    request.target.data = target;
    CHECK(fr_sending_begin(&s, a, &request, NOW_DATE, scratch) == 0);
    CHECK(s.head_size == head_size);
    s.head_sent = taken < head_size ? taken : head_size;
    s.at = taken - s.head_sent;
    away = fr_sending_put_away(&s);
    fr_table_free(&t);
    free(scratch), free(target);
    connect_pair(0);
    CHECK(fr_sending_advance(away, ours, SIZE_MAX) == FR_SENT);
    CHECK(away->request.target.size == strlen(TARGET) && fr_sending_sent(away) == 26);
    CHECK(memcmp(away->request.target.data, TARGET, strlen(TARGET)) == 0);
    CHECK(memcmp(away->request.user_agent.data, "agent", 5) == 0);
    expect(whole + taken, strlen(whole) - taken);
    fr_sending_free(away);
    disconnect();
}

static void test_an_answer_goes_on_from_every_byte(void)
{
    int fd = make_file("bytes", 0);
    char whole[256];

    CHECK(write(fd, "..." BODY "...", 32) == 32);
    for (size_t taken = 0; taken <= strlen(SENT_HEAD BODY); taken++)
        check_rest(draft_of("a", HEAD, BODY), SENT_HEAD BODY, strlen(SENT_HEAD), taken);
    fr_draft draft = draft_of_file("a",
                                   "HTTP/1.1 206 P\r\nContent-Range: bytes 2-3/26\r\n"
                                   "Content-Length: 2\r\nDate: " DATE "\r\n\r\n",
                                   fd, FILE_OFFSET + 2, 2);
    draft.is_range = 1;
    snprintf(whole, sizeof whole,
             "HTTP/1.1 206 P\r\nContent-Range: bytes 0-25/26\r\nContent-Length: 26\r\n"
             "Date: %s\r\n\r\n" BODY,
             NOW_DATE);
    for (size_t taken = 0; taken <= strlen(whole); taken++)
        check_rest(draft, whole, strlen(whole) - 26, taken);
    close(fd);
}

/* Until it is sent; `room` of the other end's is emptied whenever nothing more goes. */
static void send_whole(fr_sending *s, size_t budget, const char *expected, size_t size)
{
    char *got = malloc(size + 1);
    size_t had = 0;
    fr_progress progress;

    do {
        progress = fr_sending_advance(s, ours, budget);
        CHECK(progress == FR_SENT || progress == FR_BLOCKED);
        had += take(got + had, size + 1 - had);
    } while (progress != FR_SENT);
    CHECK(had == size && memcmp(got, expected, size) == 0);
    free(got);
}

static void test_a_tight_socket_takes_it_piece_by_piece(void)
{
    enum { SIZE = 300000 };
    int fd = make_file("large", FILE_OFFSET + SIZE);
    size_t head_size = strlen(SENT_HEAD);
    char *whole = malloc(head_size + SIZE + 1), scratch[FR_MAX_ANSWER_HEAD];
    fr_request_head request = request_of(0, 0);

    memcpy(whole, SENT_HEAD, head_size);
    fill(whole + head_size, SIZE, FILE_OFFSET);
    whole[head_size + SIZE] = 0;
    for (int is_file = 0; is_file <= 1; is_file++) {
        fr_table t;
        fr_sending s;
        fr_draft draft = is_file ? draft_of_file("a", HEAD, fd, FILE_OFFSET, SIZE)
                                 : draft_of("a", HEAD, whole + head_size);
        fr_answer *a = published(&t, draft);
        connect_pair(1);
        CHECK(fr_sending_begin(&s, a, &request, NOW_DATE, scratch) == 0);
        CHECK(fr_sending_advance(&s, ours, 1 << 20) == FR_BLOCKED);
        CHECK(fr_sending_advance(&s, ours, 1 << 20) == FR_BLOCKED);
        send_whole(&s, 1 << 20, whole, head_size + SIZE);
        CHECK(fr_sending_sent(&s) == SIZE);
        disconnect();
        fr_table_free(&t);
    }
    close(fd);
    free(whole);
}

static void test_a_budget_ends_a_turn(void)
{
    int fd = make_file("large", FILE_OFFSET + LARGE);
    fr_table t;
    fr_sending s;
    fr_request_head request = request_of(0, 0);
    fr_answer *a = published(&t, draft_of_file("a", HEAD, fd, FILE_OFFSET, LARGE));
    size_t head_size = strlen(SENT_HEAD);
    char scratch[FR_MAX_ANSWER_HEAD], *whole = malloc(head_size + LARGE);

    connect_pair(0);
    CHECK(fr_sending_begin(&s, a, &request, NOW_DATE, scratch) == 0);
    for (uint64_t i = 1; i <= 5; i++)
        CHECK(fr_sending_advance(&s, ours, 1) == FR_BLOCKED && fr_sending_sent(&s) == i);
    CHECK(fr_sending_window(&s) == FR_WINDOW);
    memcpy(whole, SENT_HEAD, head_size);
    fill(whole + head_size, LARGE, FILE_OFFSET);
    send_whole(&s, 70000, whole, head_size + LARGE);
    CHECK(s.warm_end == LARGE && fr_sending_window(&s) == 0);
    disconnect();
    fr_table_free(&t);
    close(fd);
    free(whole);
}

static void check_range(fr_answer *a, uint64_t first, uint64_t last, const char *head)
{
    fr_sending s;
    fr_request_head request = request_of(first, last);
    char expected[512], *scratch = malloc(FR_MAX_ANSWER_HEAD);
    size_t size = strlen(head), end = last < a->body_size ? last + 1 : a->body_size;

    memcpy(expected, head, size);
    fill(expected + size, end - first, FILE_OFFSET + first);
    connect_pair(0);
    CHECK(fr_sending_begin(&s, a, &request, NOW_DATE, scratch) == 0);
    CHECK(fr_sending_advance(&s, ours, SIZE_MAX) == FR_SENT);
    CHECK(fr_sending_sent(&s) == end - first);
    expect(expected, size + end - first);
    disconnect();
    free(scratch);
}

static void test_a_range_has_its_own_numbers(const char *before, const char *after)
{
    static const struct {
        uint64_t first, last;
        const char *range, *length;
    } SAMPLES[] = {
        {0, 0, "0-0", "1"},
        {0, 99, "0-99", "100"},
        {99, 99, "99-99", "1"},
        {5, UINT64_MAX, "5-99", "95"},
        {98, 100, "98-99", "2"},
        {0, UINT64_MAX - 1, "0-99", "100"},
        {10, 12, "10-12", "3"},
    };
    int fd = make_file("blob", FILE_OFFSET + 100);
    fr_table t;
    char head[512];

    snprintf(head, sizeof head,
             "HTTP/1.1 206 P\r\n%sContent-Range: bytes 5-6/100\r\nX: y\r\nContent-Length: 2\r\n"
             "%sE: f\r\n\r\n",
             before, after);
    fr_answer *a = published_range(&t, head, fd);
    for (size_t i = 0; i < COUNT(SAMPLES); i++) {
        snprintf(head, sizeof head,
                 "HTTP/1.1 206 P\r\n%sContent-Range: bytes %s/100\r\nX: y\r\n"
                 "Content-Length: %s\r\n%sE: f\r\n\r\n",
                 *before ? "Date: " NOW_DATE "\r\n" : "", SAMPLES[i].range, SAMPLES[i].length,
                 *after ? "Date: " NOW_DATE "\r\n" : "");
        check_range(a, SAMPLES[i].first, SAMPLES[i].last, head);
    }
    fr_table_free(&t);
    close(fd);
}

static void test_a_range_outside_the_blob_is_left_to_the_application(void)
{
    int fd = make_file("blob", FILE_OFFSET + 100);
    fr_table t;
    fr_sending s;
    char scratch[FR_MAX_ANSWER_HEAD];
    fr_answer *a = published_range(&t,
                                   "HTTP/1.1 206 P\r\nContent-Range: bytes 5-6/100\r\n"
                                   "Content-Length: 2\r\nDate: " DATE "\r\n\r\n",
                                   fd);
    static const uint64_t FIRST[] = {100, 101, UINT64_MAX};

    for (size_t i = 0; i < COUNT(FIRST); i++) {
        fr_request_head request = request_of(FIRST[i], UINT64_MAX);
        CHECK(fr_sending_begin(&s, a, &request, NOW_DATE, scratch) == -1);
    }
    fr_table_free(&t);
    close(fd);
}

static void test_a_range_head_never_outgrows_its_room(void)
{
    int fd = make_file("blob", FILE_OFFSET + 100);
    char *head = malloc(FR_MAX_ANSWER_HEAD + 1), *scratch = malloc(FR_MAX_ANSWER_HEAD);
    fr_request_head request = request_of(0, UINT64_MAX);
    int sent = 0, refused = 0;

    for (int size = FR_MAX_ANSWER_HEAD - 120; size <= FR_MAX_ANSWER_HEAD; size++) {
        fr_table t;
        fr_sending s;
        int used = snprintf(head, FR_MAX_ANSWER_HEAD,
                            "HTTP/1.1 206 P\r\nContent-Range: bytes 5-6/100\r\n"
                            "Content-Length: 2\r\nDate: " DATE "\r\nX: ");
        memset(head + used, 'x', (size_t)(size - used));
        memcpy(head + size - 4, "\r\n\r\n", 5);
        fr_answer *a = published_range(&t, head, fd);
        if (fr_sending_begin(&s, a, &request, NOW_DATE, scratch) == 0) {
            CHECK(s.head_size == (size_t)size + strlen("0-99100") - strlen("5-62"));
            sent++;
        } else
            refused++;
        fr_table_free(&t);
    }
    CHECK(sent > 0 && refused > 0);
    free(head), free(scratch);
    close(fd);
}

static void test_a_file_cut_short_ends_the_connection(void)
{
    int fd = make_file("large", LARGE);
    fr_table t;
    fr_sending s;
    fr_request_head request = request_of(0, 0);
    fr_answer *a = published(&t, draft_of_file("a", HEAD, fd, 0, LARGE));
    char scratch[FR_MAX_ANSWER_HEAD], *rest = malloc(LARGE);

    connect_pair(0);
    CHECK(fr_sending_begin(&s, a, &request, NOW_DATE, scratch) == 0);
    CHECK(fr_sending_advance(&s, ours, 1000) == FR_BLOCKED && fr_sending_sent(&s) == 1000);
    CHECK(ftruncate(fd, 5000) == 0);
    CHECK(fr_sending_advance(&s, ours, 4000) == FR_BLOCKED && fr_sending_sent(&s) == 5000);
    CHECK(fr_sending_advance(&s, ours, 4000) == FR_GONE);
    s.warm_end = s.at; /* the same after a look at the page cache, which may have kept a page */
    CHECK(fr_sending_advance(&s, ours, 4000) != FR_BLOCKED);
    fr_sending_warm(&s);
    CHECK(fr_sending_advance(&s, ours, 4000) == FR_GONE);
    CHECK(take(rest, LARGE) == strlen(HEAD) + 5000);
    free(rest);
    disconnect();
    fr_table_free(&t);
    close(fd);
}

static void test_a_client_that_left_is_noticed(void)
{
    int fd = make_file("large", LARGE);
    fr_request_head request = request_of(0, 0);
    char scratch[FR_MAX_ANSWER_HEAD];

    for (int kind = 0; kind < 3; kind++) {
        fr_table t;
        fr_sending s;
        fr_answer *a = published(&t, kind ? draft_of_file("a", HEAD, fd, 0, LARGE)
                                          : draft_of("a", HEAD, BODY));
        connect_pair(0);
        CHECK(fr_sending_begin(&s, a, &request, NOW_DATE, scratch) == 0);
        if (kind == 2)
            CHECK(fr_sending_advance(&s, ours, 1000) == FR_BLOCKED);
        close(theirs);
        CHECK(fr_sending_advance(&s, ours, 1000) == FR_GONE);
        close(ours);
        fr_table_free(&t);
    }
    close(fd);
}

static int is_cached(int fd, off_t offset)
{
    char byte;
    struct iovec one = {&byte, 1};

    return preadv2(fd, &one, 1, offset, RWF_NOWAIT) == 1;
}

/* A page that somebody else holds for a moment stays. What is looked at may be read ahead: not
 * the first page, which is looked at first. */
static int drop_pages(int fd)
{
    for (int tries = 0; tries < 100; tries++) {
        CHECK(fdatasync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
        if (!is_cached(fd, LARGE - 1))
            return 1;
        usleep(1000);
    }
    return 0;
}

static void read_window(const fr_sending *s, char *room)
{
    size_t size = (size_t)fr_sending_window(s);

    CHECK(pread(s->answer->fd, room, size, (off_t)(s->answer->file_offset + s->at)) ==
          (ssize_t)size);
}

/* Returns 0 where the file system keeps the pages, or cannot tell. */
static int test_what_is_not_in_memory_is_read_first(void)
{
    int fd = make_file("large", LARGE), could_drop = drop_pages(fd);
    fr_table t;
    fr_sending s;
    fr_request_head request = request_of(0, 0);
    fr_answer *a = published(&t, draft_of_file("a", HEAD, fd, 0, LARGE));
    char scratch[FR_MAX_ANSWER_HEAD], *got = malloc(LARGE + 1000), *expected = malloc(LARGE);
    size_t had = 0;
    fr_progress progress;
    unsigned cold = 0;

    connect_pair(0);
    CHECK(fr_sending_begin(&s, a, &request, NOW_DATE, scratch) == 0);
    while (could_drop && (progress = fr_sending_advance(&s, ours, SIZE_MAX)) != FR_SENT) {
        CHECK(progress == FR_COLD || progress == FR_BLOCKED);
        if (progress == FR_COLD) {
            CHECK(s.at % FR_WINDOW == 0 && (s.head_sent > 0) == (s.at > 0));
            read_window(&s, got + had);
            fr_sending_warm(&s);
            cold++;
        }
        had += take(got + had, LARGE + 1000 - had);
    }
    had += take(got + had, LARGE + 1000 - had);
    fill(expected, LARGE, 0);
    CHECK(!could_drop || (cold >= 1 && had == LARGE + strlen(HEAD)));
    CHECK(!could_drop || memcmp(got + strlen(HEAD), expected, LARGE) == 0);
    free(got), free(expected);
    disconnect();
    fr_table_free(&t);
    close(fd);
    return could_drop;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    test_head_and_body_leave_together();
    test_a_head_alone_is_an_answer();
    test_an_answer_goes_on_from_every_byte();
    test_a_tight_socket_takes_it_piece_by_piece();
    test_a_budget_ends_a_turn();
    test_a_range_has_its_own_numbers("Date: " DATE "\r\n", "");
    test_a_range_has_its_own_numbers("", "Date: " DATE "\r\n");
    test_a_range_outside_the_blob_is_left_to_the_application();
    test_a_range_head_never_outgrows_its_room();
    test_a_file_cut_short_ends_the_connection();
    test_a_client_that_left_is_noticed();
    if (!test_what_is_not_in_memory_is_read_first()) {
        fputs("this file system keeps a file's pages, or cannot tell\n", stderr);
        return 77; /* all else holds */
    }
    puts("ok");
    return 0;
}
