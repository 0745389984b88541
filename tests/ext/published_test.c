/* The table of published answers under sanitizers. */
#define _GNU_SOURCE
#include "published_given.h"

#define RANGE_HEAD(range, length)                                        \
    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " range "\r\n" \
    "Content-Length: " length "\r\nDate: " DATE "\r\n\r\n"

enum { BIG = FR_SMALL_BODY + 1 };

static int publish_file(fr_table *t, const char *key, int fd)
{
    fr_draft draft = draft_of_file(key, HEAD, fd, 0, BIG);

    return fr_table_publish(t, &draft);
}

static void test_everything_is_copied(void)
{
    fr_table t = given_table(8, 1 << 20, 8);
    char *key = strdup("key"), *head = strdup(HEAD), *body = strdup("body"), *path = strdup("w");
    fr_draft draft = draft_of(key, head, body);
    fr_witness witness;
    fr_answer *a;

    close(make_file(path, 3));
    witness = witness_of(path);
    draft.witnesses = &witness;
    draft.witness_count = 1;
    CHECK(fr_table_publish(&t, &draft) == 0);
    free(key), free(head), free(body), free(path);
    a = find(&t, "key");
    CHECK(a != NULL && a->status == 200 && a->fd == -1);
    CHECK(a->head_size == strlen(HEAD) && memcmp(a->head, HEAD, a->head_size) == 0);
    CHECK(memcmp(a->head + a->date_at, DATE, FR_DATE_SIZE) == 0);
    CHECK(a->body_size == 4 && memcmp(a->body, "body", 4) == 0);
    CHECK(find(&t, "ke") == NULL && find(&t, "keys") == NULL && find(&t, "") == NULL);
    fr_table_free(&t);
}

static void test_a_key_has_its_last_answer(void)
{
    fr_table t = given_table(8, 1 << 20, 8);
    size_t bytes;

    CHECK(publish(&t, "key", "old1") == 0);
    bytes = t.bytes;
    CHECK(publish(&t, "key", "new2") == 0);
    CHECK(t.answers == 1 && t.bytes == bytes && t.newest == t.oldest);
    CHECK(memcmp(find(&t, "key")->body, "new2", 4) == 0);
    fr_draft refused = draft_of("key", "HTTP/1.1 200 OK\r\n\r\n", "body");
    CHECK(fr_table_publish(&t, &refused) == -1);
    CHECK(find(&t, "key") == NULL && t.answers == 0 && t.bytes == 0 && t.oldest == NULL);
    fr_table_free(&t);
}

static void test_many_keys_share_few_buckets(void)
{
    fr_table t = given_table(4096, 8 << 20, 8);
    char key[16];

    t.bucket_count = 4;
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "key %d", i);
        CHECK(publish(&t, key, "body") == 0);
    }
    for (int i = 999; i >= 0; i -= 3) {
        snprintf(key, sizeof key, "key %d", i);
        CHECK(publish(&t, key, "more") == 0);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "key %d", i);
        CHECK(memcmp(find(&t, key)->body, i % 3 ? "body" : "more", 4) == 0);
    }
    CHECK(t.answers == 1000);
    fr_table_clear(&t);
    CHECK(t.answers == 0 && t.bytes == 0 && t.newest == NULL && t.oldest == NULL);
    CHECK(find(&t, "key 1") == NULL);
    fr_table_free(&t);
}

static void test_beyond_its_answers_the_longest_unused_goes(void)
{
    fr_table t = given_table(3, 1 << 20, 8);

    CHECK(publish(&t, "a", "body") == 0 && publish(&t, "b", "body") == 0);
    CHECK(publish(&t, "c", "body") == 0 && find(&t, "a") != NULL);
    CHECK(publish(&t, "d", "body") == 0 && t.answers == 3);
    CHECK(find(&t, "b") == NULL && find(&t, "a") != NULL && find(&t, "c") != NULL);
    CHECK(find(&t, "d") != NULL);
    fr_table_free(&t);
}

static void test_beyond_its_bytes_the_longest_unused_goes(void)
{
    fr_table t = given_table(100, 1 << 20, 8);
    char *large = malloc(1 << 20);
    size_t one;

    memset(large, 'x', 1 << 20);
    large[(1 << 20) - 1] = 0;
    CHECK(publish(&t, "a", "body") == 0);
    one = t.bytes;
    CHECK(one > strlen(HEAD) + 4 + sizeof(fr_answer));
    t.max_bytes = 3 * one;
    CHECK(publish(&t, "b", "body") == 0 && publish(&t, "c", "body") == 0);
    CHECK(t.answers == 3 && t.bytes == 3 * one && find(&t, "a") != NULL);
    CHECK(publish(&t, "d", "body") == 0 && t.answers == 3 && find(&t, "b") == NULL);
    CHECK(publish(&t, "a", large) == -1);
    CHECK(t.answers == 2 && find(&t, "c") != NULL && find(&t, "d") != NULL); /* not for nothing */
    free(large);
    fr_table_free(&t);
}

static void test_beyond_its_files_the_longest_unused_file_goes(void)
{
    fr_table t = given_table(100, 1 << 20, 2);
    int fd = make_file("file", BIG);

    CHECK(publish(&t, "memory", "body") == 0);
    CHECK(publish_file(&t, "a", fd) == 0 && publish_file(&t, "b", fd) == 0);
    int a = find(&t, "a")->fd, b = find(&t, "b")->fd;
    CHECK(find(&t, "a") != NULL && publish_file(&t, "c", fd) == 0);
    CHECK(t.files == 2 && t.answers == 3);
    CHECK(!is_open(b) || find(&t, "c")->fd == b);
    CHECK(find(&t, "b") == NULL && is_open(a) && find(&t, "memory") != NULL);
    fr_table_free(&t);
    CHECK(!is_open(a) && !is_open(b) && is_open(fd));
    close(fd);
}

static void test_a_file_is_held_by_a_descriptor_of_its_own(void)
{
    fr_table t = given_table(100, 1 << 20, 2);
    int fd = make_file("file", BIG);

    CHECK(publish_file(&t, "a", fd) == 0);
    fr_answer *a = find(&t, "a");
    CHECK(a->fd != fd && a->body == NULL && a->body_size == BIG && t.bytes < BIG);
    CHECK(fcntl(a->fd, F_GETFD) == FD_CLOEXEC);
    close(fd);
    CHECK(is_open(a->fd));
    fr_table_free(&t);
}

static void test_a_small_file_in_the_page_cache_is_taken_to_memory(void)
{
    fr_table t = given_table(100, 1 << 20, 2);
    int fd = make_file("file", BIG);
    char expected[FR_SMALL_BODY];
    fr_draft draft = draft_of_file("a", HEAD, fd, 1, FR_SMALL_BODY);

    fill(expected, sizeof expected, 1);
    CHECK(fr_table_publish(&t, &draft) == 0);
    fr_answer *a = find(&t, "a");
    CHECK(a->fd == -1 && t.files == 0 && t.bytes > FR_SMALL_BODY);
    CHECK(memcmp(a->body, expected, sizeof expected) == 0);
    draft.file_offset = 2; /* one byte more than the file has */
    CHECK(fr_table_publish(&t, &draft) == -1 && t.answers == 0 && t.bytes == 0);
    draft.body_size = 0;
    CHECK(fr_table_publish(&t, &draft) == 0 && find(&t, "a")->fd == -1);
    close(fd);
    fr_table_free(&t);
}

static void test_sweeping_closes_files_unused_since(void)
{
    fr_table t = given_table(100, 1 << 20, 8);
    int fd = make_file("file", BIG);

    CHECK(publish_file(&t, "old", fd) == 0 && publish(&t, "memory", "body") == 0);
    CHECK(publish_file(&t, "used", fd) == 0);
    fr_table_sweep(&t, 2, NOW);
    CHECK(publish_file(&t, "new", fd) == 0 && find(&t, "used") != NULL && t.answers == 4);
    fr_table_sweep(&t, 2, NOW);
    CHECK(t.answers == 4);
    fr_table_sweep(&t, 2, NOW);
    CHECK(t.answers == 3 && t.files == 2 && find(&t, "old") == NULL);
    CHECK(find(&t, "memory") != NULL && find(&t, "used") != NULL && find(&t, "new") != NULL);
    close(fd);
    fr_table_free(&t);
}

static void test_sweeping_closes_files_of_answers_that_have_ended(void)
{
    fr_table t = given_table(100, 1 << 20, 8);
    int fd = make_file("file", BIG);
    fr_draft file = draft_of_file("file", HEAD, fd, 0, BIG), text = draft_of("text", HEAD, "body");

    file.until = text.until = NOW + 5;
    CHECK(publish_file(&t, "old", fd) == 0);
    CHECK(fr_table_publish(&t, &file) == 0 && fr_table_publish(&t, &text) == 0);
    fr_table_sweep(&t, 60, NOW + 4);
    CHECK(t.answers == 3 && t.files == 2);
    fr_table_sweep(&t, 60, NOW + 5);
    CHECK(t.answers == 2 && t.files == 1 && find(&t, "old") != NULL);
    close(fd);
    fr_table_free(&t);
}

static void test_a_kept_answer_outlives_the_table(void)
{
    fr_table t = given_table(100, 1 << 20, 8);
    int fd = make_file("file", BIG);

    CHECK(publish_file(&t, "a", fd) == 0);
    fr_answer *a = find(&t, "a");
    int held = a->fd;
    fr_answer_keep(a);
    fr_table_free(&t);
    CHECK(is_open(held) && memcmp(a->head, HEAD, a->head_size) == 0);
    fr_answer_release(a);
    CHECK(!is_open(held));
    close(fd);
}

static void test_a_head_that_cannot_be_repeated_is_refused(void)
{
    static const char *const HEADS[] = {
        "",
        "HTTP/1.1 20",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nDate: \r\n\r\n",
        "HTTP/1.1 200 OK\r\nDate: " DATE "x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00\r\n\r\n",
        "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nX: y\r\nDate: " DATE "\r\n\r\n",
        "HTTP/1.1 200 OK\r\nDate: ",
        "HTTP/1.1 200 OK\r\nX-Date: " DATE "\r\n\r\n",
    };
    fr_table t = given_table(8, 1 << 20, 8);

    for (size_t i = 0; i < COUNT(HEADS); i++) {
        char *exact = malloc(strlen(HEADS[i]) + 1); /* sanitizers see what is read behind it */
        fr_draft draft = draft_of("a", strcpy(exact, HEADS[i]), "body");
        draft.head = exact;
        CHECK(fr_table_publish(&t, &draft) == -1);
        free(exact);
    }
    fr_draft draft = draft_of("a", HEAD, "body");
    draft.witness_count = FR_MAX_WITNESSES + 1;
    CHECK(fr_table_publish(&t, &draft) == -1 && t.answers == 0);
    fr_table_free(&t);
}

static void test_a_file_that_is_not_open_is_refused(void)
{
    fr_table t = given_table(8, 1 << 20, 8);
    int fd = make_file("file", BIG);

    close(fd);
    CHECK(publish_file(&t, "a", fd) == -1 && t.answers == 0 && t.files == 0);
    fr_table_free(&t);
}

static void test_one_range_tells_about_the_whole_blob(void)
{
    fr_table t = given_table(8, 1 << 20, 8);
    int fd = make_file("file", 200);
    fr_draft draft = draft_of_file("a", RANGE_HEAD("20-29/150", "10"), fd, 50, 10);

    draft.is_range = 1;
    CHECK(fr_table_publish(&t, &draft) == 0);
    fr_answer *a = find(&t, "a");
    CHECK(a->file_offset == 30 && a->body_size == 150 && a->fd >= 0 && a->status == 206);
    CHECK(memcmp(a->head + a->range_at, "20-29/150\r\n", 11) == 0);
    CHECK(a->range_end == a->range_at + 9);
    CHECK(memcmp(a->head + a->length_at, "10\r\n", 4) == 0 && a->length_end == a->length_at + 2);
    close(fd);
    fr_table_free(&t);
}

static void test_a_range_that_does_not_fit_is_refused(void)
{
    static const char *const HEADS[] = {
        HEAD,
        "HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/20\r\nDate: " DATE "\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/20\r\nDate: " DATE
        "\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/20\r\nDate: " DATE
        "\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/20\r\nContent-Range: bytes 0-9/20\r\n"
        "Content-Length: 10\r\nDate: " DATE "\r\n\r\n",
        RANGE_HEAD("*/20", "10"),
        RANGE_HEAD("9-0/20", "10"),
        RANGE_HEAD("0-8/20", "10"),
        RANGE_HEAD("0-10/20", "10"),
        RANGE_HEAD("11-20/20", "10"),
        RANGE_HEAD("60-69/90", "10"), /* would begin before the file */
        RANGE_HEAD("0-99999999999999999999999999/20", "10"),
        RANGE_HEAD("0-9/000000000000000000000000000000000000000000000000000000000020", "10"),
        RANGE_HEAD("", "10"),
    };
    fr_table t = given_table(8, 1 << 20, 8);
    int fd = make_file("file", 200);

    for (size_t i = 0; i < COUNT(HEADS); i++) {
        fr_draft draft = draft_of_file("a", HEADS[i], fd, 50, 10);
        draft.is_range = 1;
        CHECK(fr_table_publish(&t, &draft) == -1);
    }
    fr_draft draft = draft_of("a", RANGE_HEAD("0-3/20", "4"), "body");
    draft.is_range = 1;
    CHECK(fr_table_publish(&t, &draft) == -1);
    close(fd);
    fr_table_free(&t);
}

int main(void)
{
    test_everything_is_copied();
    test_a_key_has_its_last_answer();
    test_many_keys_share_few_buckets();
    test_beyond_its_answers_the_longest_unused_goes();
    test_beyond_its_bytes_the_longest_unused_goes();
    test_beyond_its_files_the_longest_unused_file_goes();
    test_a_file_is_held_by_a_descriptor_of_its_own();
    test_a_small_file_in_the_page_cache_is_taken_to_memory();
    test_sweeping_closes_files_unused_since();
    test_sweeping_closes_files_of_answers_that_have_ended();
    test_a_kept_answer_outlives_the_table();
    test_a_head_that_cannot_be_repeated_is_refused();
    test_a_file_that_is_not_open_is_refused();
    test_one_range_tells_about_the_whole_blob();
    test_a_range_that_does_not_fit_is_refused();
    puts("ok");
    return 0;
}
