/* Access lines under sanitizers. What is expected is what fastreg/logs.py writes. */
#define _GNU_SOURCE
#include "access_lines.h"

#include "checking.h"

#define TARGET "/v2/library/busybox/manifests/latest"

static fr_slice slice_of(const char *text)
{
    return (fr_slice){text, strlen(text)};
}

static fr_request_head request_of(const char *target, const char *referer, const char *agent)
{
    return (fr_request_head){
        .target = slice_of(target),
        .referer = slice_of(referer),
        .user_agent = slice_of(agent),
    };
}

static void expect(const fr_access_lines *lines, const char *expected)
{
    CHECK(lines->size == strlen(expected) && lines->size <= lines->room);
    CHECK(memcmp(lines->data, expected, lines->size) == 0);
}

static void test_a_line_is_as_the_application_writes_it(void)
{
    fr_access_lines lines = {0};
    fr_request_head head = request_of(TARGET, "http://a/b?c=d", "docker/24.0.7 (linux; x)");

    fr_access_lines_add(&lines, "192.0.2.7", &head, 200, 1862, 971186136);
    expect(&lines, "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET " TARGET
                   " HTTP/1.1\" 200 1862 \"http://a/b?c=d\" \"docker/24.0.7 (linux; x)\"\n");
    fr_access_lines_free(&lines);
}

static void test_backslashes_are_doubled(void)
{
    fr_access_lines lines = {0};
    fr_request_head head = request_of("/v2/", "\\", "a\\b\\\\");

    fr_access_lines_add(&lines, "::1", &head, 200, 0, 0);
    expect(&lines, "::1 - - [01/Jan/1970:00:00:00 +0000] \"GET /v2/ HTTP/1.1\" 200 0"
                   " \"\\\\\" \"a\\\\b\\\\\\\\\"\n");
    fr_access_lines_free(&lines);
}

static void test_what_is_not_known_shows_as_a_hyphen(void)
{
    fr_access_lines lines = {0};
    fr_request_head head = request_of("/v2/", "", "");

    fr_access_lines_add(&lines, "", &head, 401, 0, 0);
    expect(&lines, "- - - [01/Jan/1970:00:00:00 +0000] \"GET /v2/ HTTP/1.1\" 401 0 \"-\" \"-\"\n");
    fr_access_lines_free(&lines);
}

static void test_lines_follow_each_other(void)
{
    fr_access_lines lines = {0};
    fr_request_head head = request_of("/v2/", "", "a");

    head.method = FR_HEAD;
    fr_access_lines_add(&lines, "::1", &head, 200, 0, 951827696);
    fr_access_lines_add(&lines, "::1", &head, 304, UINT64_MAX, 951827696);
    head.method = FR_GET;
    fr_access_lines_add(&lines, "2001:db8::1", &head, 206, 10, 4102444799);
    expect(&lines,
           "::1 - - [29/Feb/2000:12:34:56 +0000] \"HEAD /v2/ HTTP/1.1\" 200 0 \"-\" \"a\"\n"
           "::1 - - [29/Feb/2000:12:34:56 +0000] \"HEAD /v2/ HTTP/1.1\" 304 18446744073709551615"
           " \"-\" \"a\"\n"
           "2001:db8::1 - - [31/Dec/2099:23:59:59 +0000] \"GET /v2/ HTTP/1.1\" 206 10"
           " \"-\" \"a\"\n");
    fr_access_lines_free(&lines);
}

static void test_the_time_follows_the_clock_both_ways(void)
{
    static const int64_t TIMES[] = {0, 1, 0, 59, 60, 1};
    fr_access_lines lines = {0};
    fr_request_head head = request_of("/v2/", "", "");
    char expected[256];

    for (size_t i = 0; i < COUNT(TIMES); i++) {
        int64_t now = TIMES[i];
        lines.size = 0;
        fr_access_lines_add(&lines, "::1", &head, 200, 0, now);
        snprintf(expected, sizeof expected,
                 "::1 - - [01/Jan/1970:00:%02d:%02d +0000] \"GET /v2/ HTTP/1.1\" 200 0 \"-\" \"-\"\n",
                 (int)now / 60, (int)now % 60);
        expect(&lines, expected);
    }
    fr_access_lines_free(&lines);
}

/* The longest of everything that the recogniser lets through, until the room grew often: a line
 * is no longer than what a pipe takes whole. */
static void test_the_room_grows_with_what_is_added(void)
{
    fr_access_lines lines = {0};
    char target[900], text[495], address[64];
    fr_request_head head = {.method = FR_HEAD, .target = {target, 900}};
    size_t size = 0;

    memset(target, 't', sizeof target);
    memset(text, '\\', sizeof text);
    memset(address, 'a', sizeof address);
    address[63] = 0;
    head.user_agent = head.referer = (fr_slice){text, sizeof text};
    for (int i = 0; i < 100; i++) {
        size_t before = lines.size;
        fr_access_lines_add(&lines, address, &head, 999, UINT64_MAX, 971186136);
        CHECK(size == 0 || lines.size - before == size);
        size = lines.size - before;
        CHECK(lines.data[lines.size - 1] == '\n' && lines.size <= lines.room);
    }
    CHECK(size < 4096 && lines.size == 100 * size && lines.room < 4 * lines.size);
    for (int i = 1; i < 100; i++)
        CHECK(memcmp(lines.data, lines.data + (size_t)i * size, size) == 0);
    CHECK(lines.lost == 0);
    fr_access_lines_free(&lines);
    CHECK(lines.data == NULL && lines.size == 0 && lines.room == 0);
}

int main(void)
{
    test_a_line_is_as_the_application_writes_it();
    test_backslashes_are_doubled();
    test_what_is_not_known_shows_as_a_hyphen();
    test_lines_follow_each_other();
    test_the_time_follows_the_clock_both_ways();
    test_the_room_grows_with_what_is_added();
    puts("ok");
    return 0;
}
