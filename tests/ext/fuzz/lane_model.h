/* What clients of the lane may hear: of every answer that was ever published, from when to when
 * it held, and of every client, what it sent and how far that is answered. */
#ifndef FASTREG_LANE_MODEL_H
#define FASTREG_LANE_MODEL_H

#include "../lane_given.h"

#define GET_LAYER "GET /v2/a/blobs/sha256:" HEX_64 HOST
#define BIG "/v2/big/blobs/sha256:" HEX_64

enum {
    VERSIONS = 8, /* of an answer, in one script */
    LAYER_SIZE = 150000,
    SMALL_SIZE = 1000,
    BIG_SIZE = FR_WINDOW + 5000,
    MAX_SENT = 16 << 10,
    CLIENTS = 4,
    FOREVER = 1 << 30,
};

typedef enum { TAG_ANSWER, NO_ANSWER, LAYER_ANSWER, SMALL_ANSWER, BIG_ANSWER } answer_kind;

typedef enum { NO_WITNESS, A_FILE, A_COUNTER } witness_kind;

/* What is published, of one request each. */
static const struct {
    const char *request;
    answer_kind kind;
    witness_kind witness;
} ANSWERS[] = {
    {GET_TAG, TAG_ANSWER, A_FILE},
    {"HEAD /v2/a/manifests/t" HOST "\r\n", NO_ANSWER, A_FILE},
    {"GET /v2/" HOST "\r\n", NO_ANSWER, NO_WITNESS},
    {GET_LAYER "\r\n", LAYER_ANSWER, NO_WITNESS},
    {"GET /v2/small/blobs/sha256:" HEX_64 HOST "\r\n", SMALL_ANSWER, A_FILE},
    {"GET " BIG HOST "Range: bytes=7-9\r\n\r\n", BIG_ANSWER, NO_WITNESS},
    {"GET /v2/a/manifests/t" HOST "Connection: close\r\n\r\n", TAG_ANSWER, A_FILE},
    {GET_LAYER "Connection: close\r\n\r\n", LAYER_ANSWER, NO_WITNESS},
    {"GET /v2/a/manifests/t" HOST "If-None-Match: \"sha256:ab\"\r\n\r\n", NO_ANSWER, A_FILE},
    {"GET /v2/far/manifests/t" HOST "\r\n", TAG_ANSWER, A_COUNTER},
    {"GET /v2/far/blobs/sha256:" HEX_64 HOST "\r\n", LAYER_ANSWER, A_COUNTER},
};

/* Held from the step `from` until the step `to`. */
static struct {
    int from[VERSIONS], to[VERSIONS];
    int count;
} versions[COUNT(ANSWERS)];

typedef struct {
    char head[512];
    size_t head_size, date_at, size;
    uint64_t first; /* of the file */
} expectation;

typedef struct {
    int fd, lane_fd;                     /* -1: closed by us; -1: not the lane's any more */
    char sent[MAX_SENT];                 /* and behind `sent_size`, what is to be sent */
    int sent_at[MAX_SENT];               /* the step */
    size_t sent_size, queued_size;
    size_t next;                         /* request, of which no answer was heard whole */
    size_t next_size;                    /* 0 before the first byte of its answer */
    int next_closes;
    expectation expected[VERSIONS];
    unsigned possible;                   /* bits of the versions that it may be */
    size_t heard;                        /* of the answer */
    int may_end, may_be_cut, has_ended;
} client;

static client clients[CLIENTS];
static int step;
static char content[BIG_SIZE]; /* of every file */

static inline int slices_equal(fr_slice a, fr_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Which of ANSWERS is for a request like that; -1: none. */
static inline int find_published(const fr_request_head *head)
{
    for (size_t i = 0; i < COUNT(ANSWERS); i++) {
        fr_request_head other;
        size_t used;
        fr_request_head_parse(ANSWERS[i].request, strlen(ANSWERS[i].request), &other, &used);
        if (head->method == other.method && head->closes == other.closes &&
            head->has_range == other.has_range && slices_equal(head->target, other.target) &&
            slices_equal(head->if_none_match, other.if_none_match) &&
            slices_equal(head->authorization, other.authorization))
            return (int)i;
    }
    return -1;
}

/* The head of an answer and the size of its body, for the range first-last where it has one. */
static inline expectation expect(size_t which, int version, uint64_t first, uint64_t last)
{
    static const size_t SIZES[] = {4, 0, LAYER_SIZE, SMALL_SIZE, BIG_SIZE};
    answer_kind kind = ANSWERS[which].kind;
    expectation e = {.first = 0};
    size_t size = SIZES[kind];
    char range[64] = "";

    if (kind == BIG_ANSWER) {
        last = last < BIG_SIZE ? last : BIG_SIZE - 1;
        size = first < BIG_SIZE ? (size_t)(last - first + 1) : 0;
        e.first = first;
        snprintf(range, sizeof range, "Content-Range: bytes %zu-%zu/%d\r\n", (size_t)first,
                 (size_t)last, BIG_SIZE);
    }
    e.head_size = (size_t)snprintf(e.head, sizeof e.head,
                                   "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\nX: %zu.%d\r\n"
                                   "Date: " DATE "\r\n\r\n",
                                   range, size, which, version);
    e.date_at = e.head_size - 4 - FR_DATE_SIZE;
    e.size = e.head_size + size;
    return e;
}

static inline int matches(const expectation *e, size_t at, const char *data, size_t size)
{
    for (; size > 0 && at < e->head_size; at++, data++, size--)
        if (*data != e->head[at] && (at < e->date_at || at >= e->date_at + FR_DATE_SIZE))
            return 0;
    return size == 0 || memcmp(data, content + e->first + (at - e->head_size), size) == 0;
}

/* The first byte of an answer came: to the request at `next`, whole by then. */
static inline void begin_answer(client *c)
{
    fr_request_head head;
    int which, complete_at;

    CHECK(fr_request_head_parse(c->sent + c->next, c->sent_size - c->next, &head, &c->next_size) ==
          FR_HEAD_RECOGNISED);
    which = find_published(&head);
    CHECK(which >= 0 && (!head.has_range || head.range_first < BIG_SIZE));
    complete_at = c->sent_at[c->next + c->next_size - 1];
    c->next_closes = head.closes;
    c->possible = 0;
    c->heard = 0;
    for (int i = 0; i < versions[which].count; i++)
        if (versions[which].to[i] > complete_at) {
            c->possible |= 1u << i;
            c->expected[i] = expect((size_t)which, i, head.range_first, head.range_last);
        }
}

static inline void hear_answers(client *c, const char *data, size_t size)
{
    while (size > 0) {
        size_t part = 0, whole = 0;
        if (c->next_size == 0)
            begin_answer(c);
        for (int i = 0; i < VERSIONS; i++) {
            if (!(c->possible & 1u << i))
                continue;
            whole = c->expected[i].size; /* the same of all versions */
            part = size < whole - c->heard ? size : whole - c->heard;
            if (!matches(&c->expected[i], c->heard, data, part))
                c->possible &= ~(1u << i);
        }
        CHECK(c->possible != 0);
        c->heard += part;
        data += part;
        size -= part;
        if (c->heard == whole) {
            c->next += c->next_size;
            c->next_size = 0;
            c->may_end |= c->next_closes;
        }
    }
}

/* Nothing that is whole is left unanswered. */
static inline void check_is_answered(const client *c)
{
    fr_request_head head;
    size_t used;

    CHECK(c->next_size == 0);
    CHECK(fr_request_head_parse(c->sent + c->next, c->sent_size - c->next, &head, &used) ==
          FR_HEAD_PARTIAL);
}

/* Take at most that much; returns how much there was. */
static inline size_t listen_to(client *c, size_t most)
{
    static char data[64 << 10];
    size_t heard = 0;
    ssize_t count = 1;

    if (c->fd < 0 || c->has_ended)
        return 0;
    while (heard < most) {
        count = recv(c->fd, data, most - heard < sizeof data ? most - heard : sizeof data, 0);
        if (count <= 0)
            break;
        hear_answers(c, data, (size_t)count);
        heard += (size_t)count;
    }
    if (heard < most && (count == 0 || errno != EAGAIN)) {
        c->has_ended = 1;
        CHECK(c->may_end || c->may_be_cut);
        if (!c->may_be_cut && !c->next_closes)
            check_is_answered(c);
    }
    return heard;
}

#endif
