/* The recogniser under sanitizers: what it is given is a copy of exactly that many bytes. */
#include "request_head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what) check((what), #what, __LINE__)
#define HOST "Host: reg\r\n"
#define VERSION " HTTP/1.1\r\n"
#define GET "GET /v2/a/manifests/b" VERSION HOST
#define HEX_64 "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define SAME(slice, text) ((slice).size == strlen(text) && !memcmp((slice).data, text, (slice).size))
#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *now;

static void check(int holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "line %d: %s does not hold for:\n%s\n", line, what, now);
        exit(1);
    }
}

static fr_head_result parse_copy(const char *data, size_t size, fr_request_head *head, size_t *used)
{
    char *copy = malloc(size ? size : 1);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    fr_head_result result = fr_request_head_parse(copy, size, head, used);
    free(copy);
    return result;
}

static fr_head_result result_of(const char *data, size_t size)
{
    fr_request_head head;
    size_t used;
    now = data;
    return parse_copy(data, size, &head, &used);
}

static fr_request_head recognised(const char *text)
{
    fr_request_head head;
    size_t used;
    now = text;
    CHECK(fr_request_head_parse(text, strlen(text), &head, &used) == FR_HEAD_RECOGNISED);
    CHECK(used == strlen(text));
    return head;
}

static const char *const VALID[] = {
    "GET /" VERSION HOST "\r\n",
    "HEAD /v2/" VERSION HOST "\r\n",
    "GET /v2/" VERSION "host:reg\r\n\r\n",
    "GET /v2/" VERSION "HOST:    reg   \r\n\r\n",
    "GET /v2/" VERSION "Host: [::1]:5000\r\n\r\n",
    "GET /Pre.fix-1/v2/a_b/c/blobs/sha256:" HEX_64 VERSION HOST "\r\n",
    "GET /v2/..a/.b/c../..." VERSION HOST "\r\n",
    "GET /v2/a/manifests/b?ns=docker.io" VERSION HOST "\r\n",
    GET "Connection: Keep-Alive\r\n\r\n",
    GET "User-Agent: docker/20.10.24 UpstreamClient(Docker-Client/28.2.2 \\(linux\\))\r\n"
        "Connection: close\r\n\r\n",
    GET "Accept: a/b, */*;q=0.1\r\nAccept: text/html\r\nX-Empty:\r\n\r\n",
    GET "!#$%&'*+-.^`|~09azAZ: (any) {value}\\\"\r\n\r\n",
    GET "Hosts: a\r\nRanges: b\r\nIf: c\r\nContent: d\r\nTea: e\r\nUpgrades: f\r\n\r\n",
    GET "Authorization: Basic dXNlcjpwYXNzd29yZA==\r\nUser-Agent: curl/8.0 (x; y)\r\n\r\n",
    GET "Range: bytes=0-0\r\nIf-None-Match: \"sha256:" HEX_64 "\"\r\nReferer: http://a/\r\n\r\n",
    GET "Range:bytes=123456789012345678-  \r\n\r\n",
    "HEAD /v2/a/manifests/b" VERSION "Accept: */*\r\n" HOST "\r\n",
};

static void test_every_prefix_of_a_valid_head_is_partial(void)
{
    for (size_t i = 0; i < COUNT(VALID); i++) {
        size_t size = strlen(VALID[i]);
        CHECK(result_of(VALID[i], size) == FR_HEAD_RECOGNISED);
        for (size_t cut = 0; cut < size; cut++)
            CHECK(result_of(VALID[i], cut) == FR_HEAD_PARTIAL);
    }
}

static void test_what_follows_a_head_is_not_looked_at(void)
{
    static const char *const after[] = {"G", "\r\n", " folded\r\n", "\x01", "GET / HTTP/1.1\r\n"};
    for (size_t i = 0; i < COUNT(VALID) * COUNT(after); i++) {
        const char *text = VALID[i / COUNT(after)];
        char both[1024];
        int size = snprintf(both, sizeof both, "%s%s", text, after[i % COUNT(after)]);
        fr_request_head head;
        size_t used = 0;
        now = both;
        CHECK(parse_copy(both, (size_t)size, &head, &used) == FR_HEAD_RECOGNISED);
        CHECK(used == strlen(text));
    }
}

/* Each at its shortest: one byte less could still become a valid head. */
static const char *const OTHER_AT_THE_LAST_BYTE[] = {
    "P", "g", "\r", "\x16", " ", "GET\t", "GET  ", "GET h", "GET *", "HEAD:", "HEADS", "GETS",
    "GET //", "GET /a//", "GET /./", "GET /a/../", "GET /a/..?", "GET /a/. ", "GET /%", "GET /a\\",
    "GET /a#", "GET /a\t", "GET /a\r", "GET /a~", "GET /a??", "GET /a?n=", "GET /a?ns= ",
    "GET /a?ns=b&", "GET /a?ns=b?", "GET /a?ns=b/", "GET /a?ns=%", "GET /a?l", "GET /a  ",
    "GET /a h", "GET /a HTTP/1.0", "GET /a HTTP/2", "GET /a HTTP/1.1 ", "GET /a HTTP/1.1\n",
    "GET /a HTTP/1.1\r\r", "GET /a" VERSION " ", "GET /a" VERSION "\t", "GET /a" VERSION ":",
    "GET /a" VERSION "\n", "GET /a" VERSION "\r", /* no Host */
    "GET /a" VERSION "Host:\r", "GET /a" VERSION "Host: \r", "GET /a" VERSION "Host: a,",
    "GET /a" VERSION "Host: a/", "GET /a" VERSION "Host: a b",
    GET " ", GET "\t", GET "\n", GET "\r\r", GET "a ", GET "a\t", GET "a_", GET "a\r", GET "a\"",
    GET "a(", GET "\x80", GET "a:\t", GET "a: b\t", GET "a: b\n", GET "a: b\r\r", GET "a: b\r ",
    GET "a: \x7f", GET "a: \x80", GET "a: b\x1f", GET "a: 1234567\x1f",
    GET "a: 1234567\x7f", GET "a: 1234567\x80", GET "a: 1234567\x9f", GET "a: 1234567\xff",
    GET "Host:", GET "hOsT:", GET "Content-Length:", GET "content-type:", GET "Content-Range:",
    GET "Content-:", GET "Transfer-Encoding:", GET "TE:", GET "Trailer:", GET "Expect:",
    GET "Upgrade:", GET "If-Match:", GET "If-Range:", GET "If-Modified-Since:",
    GET "If-Unmodified-Since:", GET "Proxy:", GET "Proxy-Connection:", GET "Proxy-Authorization:",
    GET "Connection: closed\r", GET "Connection: upgrade\r", GET "Connection:,",
    GET "Connection: keep-alive,", GET "Connection: \r", GET "Connection: keep-alive T",
    GET "Connection: keep-alive\r\nconnection:",
    GET "Authorization:\r", GET "Authorization:   \r", GET "Authorization: a\r\nauthorization:",
    GET "Authorization: a\x80", GET "Authorization: a  b\r", GET "User-Agent:\r",
    GET "User-Agent: a\"\r", GET "User-Agent: a\r\nUSER-AGENT:",
    GET "User-Agent: \xc3", GET "Referer: \"\r", GET "Referer: \r", GET "Referer: a\r\nReferer:",
    GET "If-None-Match: *", GET "If-None-Match: W", GET "If-None-Match: s", GET "If-None-Match:\r",
    GET "If-None-Match: \"\"", GET "If-None-Match: \"S", GET "If-None-Match: \"sha256\"",
    GET "If-None-Match: \":", GET "If-None-Match: \"a:\"", GET "If-None-Match: \"a:A",
    GET "If-None-Match: \"a:g", GET "If-None-Match: \"a:b\",", GET "If-None-Match: \"a:b\" \"",
    GET "If-None-Match: \"a:b\"\r\nif-none-match:",
    GET "Range: B", GET "Range: bytes ", GET "Range: i", GET "Range: bytes=-",
    GET "Range: bytes= ", GET "Range: bytes=\r", GET "Range: bytes=1\r", GET "Range: bytes=1 ",
    GET "Range: bytes=1--", GET "Range: bytes=1-2,", GET "Range: bytes=1-,",
    GET "Range: bytes=2-1\r", GET "Range: bytes=+", GET "Range: bytes=1-+", GET "Range:\r",
    GET "Range: bytes=1234567890123456789", GET "Range: bytes=0-1234567890123456789",
    GET "Range: bytes=0-\r\nrange:", "HEAD /a" VERSION "Range:",
};

static void test_an_odd_head_is_left_to_others_as_soon_as_it_is_odd(void)
{
    for (size_t i = 0; i < COUNT(OTHER_AT_THE_LAST_BYTE); i++) {
        const char *text = OTHER_AT_THE_LAST_BYTE[i];
        char longer[1024];
        CHECK(result_of(text, strlen(text)) == FR_HEAD_OTHER);
        CHECK(result_of(text, strlen(text) - 1) == FR_HEAD_PARTIAL);
        int size = snprintf(longer, sizeof longer, "%s\r\n" HOST "\r\n\r\n", text);
        CHECK(result_of(longer, (size_t)size) == FR_HEAD_OTHER);
    }
}

static void test_nul_is_a_byte_like_any_odd_one(void)
{
    static const char *const parts[] = {"", "GET", "GET ", "GET /a", "GET /a?ns=b", GET, GET "a",
                                        GET "a:", GET "a: b", GET "User-Agent: a", GET "Range: "};
    for (size_t i = 0; i < COUNT(parts); i++)
        CHECK(result_of(parts[i], strlen(parts[i]) + 1) == FR_HEAD_OTHER);
}

static void test_values_are_those_that_were_sent(void)
{
    fr_request_head head = recognised(
        "GET /v2/a/blobs/b?ns=c:1" VERSION "user-agent: curl 8 \r\nACCEPT: no\r\n" HOST
        "If-None-Match:\"a1:0f\"\r\nreferer:  r\r\nAuthorization: Bearer x.y\r\n\r\n");
    CHECK(head.method == FR_GET && SAME(head.target, "/v2/a/blobs/b?ns=c:1"));
    CHECK(SAME(head.user_agent, "curl 8") && SAME(head.referer, "r"));
    CHECK(SAME(head.if_none_match, "\"a1:0f\"") && SAME(head.authorization, "Bearer x.y"));
    CHECK(!head.has_range && !head.closes);
}

static void test_who_wants_to_close_says_so(void)
{
    CHECK(recognised(GET "CONNECTION: Close \r\n\r\n").closes);
    CHECK(!recognised(GET "Connection: keep-alive\r\n\r\n").closes);
}

static void test_what_is_absent_is_empty(void)
{
    fr_request_head head = recognised("HEAD /" VERSION HOST "\r\n");
    CHECK(head.method == FR_HEAD && SAME(head.target, "/") && !head.has_range);
    CHECK(head.user_agent.size == 0 && head.referer.size == 0);
    CHECK(head.if_none_match.size == 0 && head.authorization.size == 0);
}

static void test_ranges_are_numbers_both_inclusive(void)
{
    fr_request_head head = recognised(GET "Range: bytes=007-123456789012345678\r\n\r\n");
    CHECK(head.has_range && head.range_first == 7);
    CHECK(head.range_last == UINT64_C(123456789012345678));
    head = recognised(GET "Range: bytes=5-\r\n\r\n");
    CHECK(head.has_range && head.range_first == 5 && head.range_last == UINT64_MAX);
}

/* `before`, then as many `filler` as make `after` begin at `at`. */
static fr_head_result result_of_filled(const char *before, char filler, size_t at, const char *after)
{
    char *text = malloc(at + strlen(after) + 1);
    CHECK(text != NULL);
    memset(text, filler, at);
    memcpy(text, before, strlen(before));
    strcpy(text + at, after);
    fr_head_result result = result_of(text, at + strlen(after));
    free(text);
    return result;
}

static void check_limit(const char *before, size_t max, const char *after)
{
    size_t at = strlen(before) + max;
    CHECK(result_of_filled(before, 'a', at, after) == FR_HEAD_RECOGNISED);
    CHECK(result_of_filled(before, 'a', at + 1, after) == FR_HEAD_OTHER);
    CHECK(result_of_filled(before, 'a', at + 1, "") == FR_HEAD_OTHER);
}

static void test_what_is_too_long_is_left_to_others(void)
{
    check_limit("GET /", 899, VERSION HOST "\r\n");
    check_limit("GET /a?ns=", 255, VERSION HOST "\r\n");
    check_limit("GET /a" VERSION "Host: ", 255, "\r\n\r\n");
    check_limit(GET "Authorization: ", 4096, "\r\n\r\n");
    check_limit(GET "User-Agent: ", 495, "\r\n\r\n");
    check_limit(GET "Referer: ", 495, "\r\n\r\n");
}

static void test_a_head_has_8192_bytes_at_most(void)
{
    static const char before[] = GET "X: ";
    CHECK(result_of_filled(before, 'a', 8188, "\r\n\r\n") == FR_HEAD_RECOGNISED);
    CHECK(result_of_filled(before, 'a', 8188, "\r\n\r") == FR_HEAD_PARTIAL);
    CHECK(result_of_filled(before, 'a', 8189, "\r\n\r") == FR_HEAD_OTHER);
    CHECK(result_of_filled(before, 'a', 8189, "\r\n\r\n") == FR_HEAD_OTHER);
    CHECK(result_of_filled(before, 'a', 100000, "") == FR_HEAD_OTHER);
}

static void test_a_head_has_64_headers_at_most(void)
{
    char text[1024] = "GET /a" VERSION HOST;
    for (int i = 1; i < 64; i++)
        strcat(text, "a: b\r\n");
    size_t size = strlen(text);
    strcpy(text + size, "\r\n");
    CHECK(result_of(text, size + 2) == FR_HEAD_RECOGNISED);
    strcpy(text + size, "a");
    CHECK(result_of(text, size + 1) == FR_HEAD_OTHER);
}

int main(void)
{
    test_every_prefix_of_a_valid_head_is_partial();
    test_what_follows_a_head_is_not_looked_at();
    test_an_odd_head_is_left_to_others_as_soon_as_it_is_odd();
    test_nul_is_a_byte_like_any_odd_one();
    test_values_are_those_that_were_sent();
    test_who_wants_to_close_says_so();
    test_what_is_absent_is_empty();
    test_ranges_are_numbers_both_inclusive();
    test_what_is_too_long_is_left_to_others();
    test_a_head_has_8192_bytes_at_most();
    test_a_head_has_64_headers_at_most();
    puts("ok");
    return 0;
}
