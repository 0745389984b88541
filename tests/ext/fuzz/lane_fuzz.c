/* Any bytes as a script of what clients, the application, the disk and the clock do to a lane:
 * whatever a client hears is a sequence of whole answers that held when it asked, whatever is
 * handed over is exactly the rest of what it sent, no request is left lying, and nothing leaks. */
#define _GNU_SOURCE
#include "lane_model.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

enum {
    MINUTE = 60000,
    MAX_BYTES = 8 << 20, /* heard in a script, for the time it takes */
};

static const uint8_t *script, *script_end;
static int big, layer, small; /* files */
static char directory[] = "/tmp/fastreg-lane-XXXXXX", link_path[sizeof directory + 8];
static fr_connection *reads[CLIENTS];
static uint64_t counter; /* moved by others */
static int is_drained;
static size_t total;

static unsigned next_byte(void)
{
    return script < script_end ? *script++ : 0;
}

static client *any_client(void)
{
    return &clients[next_byte() % CLIENTS];
}

/* --- the application */

static int publish_version(size_t which, int version)
{
    fr_witness witness = {.counter = &counter, .value = counter};
    expectation e = expect(which, version, 7, 9);
    fr_draft draft = draft_of("", e.head, NULL);
    answer_kind kind = ANSWERS[which].kind;

    if (kind == TAG_ANSWER)
        draft.body = content;
    else if (kind != NO_ANSWER)
        draft.fd = kind == LAYER_ANSWER ? layer : kind == SMALL_ANSWER ? small : big;
    draft.body_size = e.size - e.head_size;
    draft.file_offset = e.first;
    if (ANSWERS[which].witness == A_FILE)
        witness = witness_of(link_path);
    draft.witnesses = &witness;
    draft.witness_count = ANSWERS[which].witness != NO_WITNESS;
    return fr_lane_publish(&lane, ANSWERS[which].request, strlen(ANSWERS[which].request), &draft);
}

static void end_version(size_t which)
{
    int *to = versions[which].to + versions[which].count - 1;

    if (versions[which].count > 0 && *to == FOREVER)
        *to = step;
}

static void publish_again(void)
{
    size_t which = next_byte() % COUNT(ANSWERS);
    int version = versions[which].count;

    if (version == VERSIONS || (ANSWERS[which].kind == SMALL_ANSWER && is_disk_cold))
        return;
    if (ANSWERS[which].witness == A_FILE && access(link_path, F_OK) != 0)
        return;
    end_version(which);
    versions[which].from[version] = step;
    versions[which].to[version] = FOREVER;
    versions[which].count++;
    CHECK(publish_version(which, version) == 0);
}

/* The size of the file is that of no earlier one, as the times may be the same. */
static void change_a_witness(void)
{
    static size_t changes;
    unsigned how = next_byte();

    if (how & 2)
        counter++;
    else if (how & 1)
        close(make_file(link_path, 1 + changes++ % 5000));
    else
        unlink(link_path);
    for (size_t i = 0; i < COUNT(ANSWERS); i++)
        if (ANSWERS[i].witness == (how & 2 ? A_COUNTER : A_FILE))
            end_version(i);
}

static void forget_answers(void)
{
    unsigned how = next_byte();

    for (fr_answer *a = lane.table.newest; a != NULL; a = a->older) {
        if (how & 1)
            a->until = lane.clock.now_ms;
        else if (how & 2)
            a->renew = lane.clock.now_ms;
        else
            a->last_used -= 3600; /* the next tick closes files */
    }
    for (size_t i = 0; i < COUNT(ANSWERS); i++)
        if (how & 1)
            end_version(i);
        else if (versions[i].count > 0)
            versions[i].from[versions[i].count - 1] = FOREVER; /* it may be asked for in vain */
}

/* --- the lane and what it tells */

static client *client_of(int lane_fd)
{
    for (size_t i = 0; i < CLIENTS; i++)
        if (clients[i].lane_fd == lane_fd)
            return &clients[i];
    abort();
}

static void adopt_for(client *c, const char *data, size_t data_size, int has_served)
{
    CHECK(fr_lane_adopt(&lane, c->lane_fd, "192.0.2.1", 0, data, data_size, has_served) == 0);
}

/* Whether the lane should have answered instead. */
static int had_answer(const client *c, const fr_request_head *head, size_t used)
{
    int which = find_published(head), last = which < 0 ? -1 : versions[which].count - 1;

    return last >= 0 && versions[which].from[last] < c->sent_at[c->next] && !is_drained &&
           versions[which].to[last] == FOREVER && head->range_first < BIG_SIZE &&
           !(head->closes && c->next + used < c->sent_size);
}

/* Answer the one request, or be gone. */
static void serve_handover(client *c, const char *data, size_t size, int is_late)
{
    fr_request_head head;
    size_t used;

    fr_head_result result = fr_request_head_parse(data, size, &head, &used);
    CHECK(is_late || result != FR_HEAD_PARTIAL);
    CHECK(is_late || result != FR_HEAD_RECOGNISED || !had_answer(c, &head, used));
    if (result == FR_HEAD_RECOGNISED && !head.closes && next_byte() & 1) {
        c->next += used;
        adopt_for(c, data + used, size - used, 1);
        return;
    }
    close(c->lane_fd);
    c->lane_fd = -1;
    c->may_end = c->may_be_cut = 1;
}

static void take_handover(fr_connection *connection, int is_late)
{
    static char data[MAX_SENT + 1];
    client *c = client_of(connection->fd);
    size_t size = connection->received_size;
    ssize_t count;

    CHECK(size > 0 && size <= MAX_SENT && connection->sending == NULL);
    memcpy(data, connection->received, size);
    fr_connection_take(connection);
    fr_connection_free(connection);
    while ((count = recv(c->lane_fd, data + size, sizeof data - size, 0)) > 0)
        size += (size_t)count;
    if (c->fd >= 0) {
        listen_to(c, SIZE_MAX);
        CHECK(c->next_size == 0 && c->next == c->sent_size - size);
    }
    CHECK(memcmp(data, c->sent + c->sent_size - size, size) == 0);
    c->next = c->sent_size - size;
    serve_handover(c, data, size, is_late);
}

static void follow_events(int is_late)
{
    fr_event events[FR_MAX_EVENTS];
    size_t count = lane.event_count, handed_over = 0;

    CHECK(count <= CLIENTS);
    memcpy(events, lane.events, count * sizeof *events);
    for (size_t i = 0; i < count; i++)
        handed_over += events[i].kind == FR_HANDOVER;
    check_lists(handed_over);
    for (size_t i = 0; i < count; i++) {
        size_t slot = 0;
        if (events[i].kind == FR_HANDOVER) {
            take_handover(events[i].connection, is_late);
            continue;
        }
        while (reads[slot] != NULL)
            slot++;
        CHECK(slot < CLIENTS && events[i].connection->list == FR_READING);
        reads[slot] = events[i].connection;
    }
}

static void take_turn(void)
{
    fr_lane_turn(&lane);
    follow_events(0);
}

static void resume(size_t slot)
{
    fr_connection *connection = reads[slot];

    if (connection == NULL)
        return;
    reads[slot] = NULL;
    fr_lane_resume(&lane, connection);
    follow_events(0);
}

static void let_time_pass(void)
{
    static const int64_t LIMITS[FR_LISTS] = {0, 10 * MINUTE, 20 * MINUTE, 30 * MINUTE, INT64_MAX};
    int64_t passed = next_byte() % 16 * 2 * MINUTE;

    for (int name = FR_BEGINNING; name < FR_LISTS; name++) {
        age((fr_list_name)name, passed);
        for (fr_connection *c = lists[name].first; c != NULL; c = c->later)
            if (lane.clock.now_ms - c->since_ms >= LIMITS[name])
                client_of(c->fd)->may_be_cut = 1;
    }
    fr_lane_tick(&lane);
    follow_events(1);
    for (int name = FR_BEGINNING; name < FR_READING; name++)
        for (fr_connection *c = lists[name].first; c != NULL; c = c->later)
            CHECK(lane.clock.now_ms - c->since_ms < LIMITS[name]);
}

static void drop_idle(void)
{
    int64_t grace = next_byte() % 16 * MINUTE;

    for (int name = FR_BEGINNING; name <= FR_IDLE; name++)
        for (fr_connection *c = lists[name].first; c != NULL; c = c->later)
            client_of(c->fd)->may_end = 1;
    fr_lane_drop_idle(&lane, grace);
}

/* --- the clients */

static void queue(client *c, const char *data, size_t size)
{
    if (size > MAX_SENT - c->queued_size)
        return;
    memcpy(c->sent + c->queued_size, data, size);
    c->queued_size += size;
}

static void queue_request(client *c)
{
    static const char *const OTHERS[] = {
        GET_OTHER,
        "PUT /v2/a/blobs/uploads/" HOST "Content-Length: 3\r\n\r\nabc",
        "GET /v2/a/manifests/t" HOST "Authorization: Basic YTpi\r\n\r\n",
    };
    unsigned which = next_byte() % (COUNT(ANSWERS) + COUNT(OTHERS) + 3);
    char range[256];

    if (which < COUNT(ANSWERS))
        queue(c, ANSWERS[which].request, strlen(ANSWERS[which].request));
    else if ((which -= (unsigned)COUNT(ANSWERS)) < COUNT(OTHERS))
        queue(c, OTHERS[which], strlen(OTHERS[which]));
    else {
        unsigned first = next_byte() << 13 | next_byte(), count = next_byte() << (next_byte() % 8);
        int used = snprintf(range, sizeof range, "GET " BIG HOST "Range: bytes=%u-%u\r\n\r\n",
                            first, first + count);
        queue(c, range, (size_t)used);
    }
}

static void queue_raw(client *c)
{
    size_t size = next_byte(), left = (size_t)(script_end - script);

    size = size < left ? size : left;
    queue(c, (const char *)script, size);
    script += size;
}

static void count_sent(client *c, size_t size)
{
    for (size_t i = 0; i < size; i++)
        c->sent_at[c->sent_size++] = step;
}

static void send_some(client *c)
{
    size_t most = next_byte(), left = c->queued_size - c->sent_size;
    ssize_t sent;

    if (c->fd < 0 || c->has_ended || left == 0)
        return;
    sent = send(c->fd, c->sent + c->sent_size, most < left && most < 200 ? most : left,
                MSG_NOSIGNAL);
    if (sent > 0)
        count_sent(c, (size_t)sent);
}

/* Connect anew, with what is queued as already brought. */
static void connect_anew(client *c)
{
    unsigned how = next_byte();
    int pair[2], least = 1;

    if (c->fd >= 0 || c->lane_fd >= 0)
        return;
    memset(c, 0, offsetof(client, sent));
    memset(&c->sent_size, 0, sizeof *c - offsetof(client, sent_size));
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    c->fd = pair[1];
    c->lane_fd = pair[0];
    if (how & 1)
        setsockopt(c->lane_fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
    for (unsigned i = how >> 2 & 7; i > 0; i--)
        queue_request(c);
    count_sent(c, c->queued_size);
    adopt_for(c, c->sent, c->sent_size, how & 2);
}

static void hang_up(client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

/* A connection that the lane closed has a descriptor that may be another's next. */
static void forget_closed(void)
{
    for (size_t i = 0; i < CLIENTS; i++)
        if (clients[i].lane_fd >= 0 && !is_open(clients[i].lane_fd)) {
            clients[i].lane_fd = -1;
            CHECK(clients[i].fd < 0 || clients[i].may_end || clients[i].may_be_cut ||
                  (listen_to(&clients[i], SIZE_MAX), clients[i].may_end));
        }
}

static void do_next(void)
{
    client *c = any_client();

    switch (next_byte() % 18) {
    case 0: connect_anew(c); break;
    case 1: case 2: queue_request(c); break;
    case 3: queue_raw(c); break;
    case 4: case 5: send_some(c); break;
    case 6: total += listen_to(c, (size_t)next_byte() << next_byte() % 16); break;
    case 7: c->may_end |= c->fd >= 0 && shutdown(c->fd, SHUT_WR) == 0; break;
    case 8: hang_up(c); break;
    case 9: case 10: take_turn(); break;
    case 11: let_time_pass(); break;
    case 12: publish_again(); break;
    case 13: change_a_witness(); break;
    case 14: forget_answers(); break;
    case 15: is_disk_cold = (int)next_byte() & 1; break;
    case 16: resume(next_byte() % CLIENTS); break;
    default:
        if (next_byte() % 8 == 0) {
            fr_lane_drain(&lane);
            is_drained = 1;
        } else
            drop_idle();
    }
    forget_closed();
    step++;
}

/* Everybody listens, until nothing happens any more. */
static void settle_all(void)
{
    size_t heard;
    int quiet = 0;

    is_disk_cold = 0;
    while (quiet < 3 && total < MAX_BYTES) {
        heard = 0;
        step++;
        for (size_t i = 0; i < CLIENTS; i++) {
            resume(i);
            forget_closed();
            heard += listen_to(&clients[i], SIZE_MAX);
        }
        take_turn();
        forget_closed();
        total += heard;
        quiet = heard > 0 || lane.event_count > 0 ? 0 : quiet + 1;
    }
    for (size_t i = 0; i < CLIENTS && quiet == 3; i++)
        if (clients[i].fd >= 0 && clients[i].lane_fd >= 0)
            check_is_answered(&clients[i]);
}

static void leave(void)
{
    unlink(link_path);
    rmdir(directory);
}

static int make_nameless(size_t size)
{
    int fd = make_file(link_path, size);

    unlink(link_path);
    return fd;
}

static void prepare(void)
{
    CHECK(mkdtemp(directory) != NULL && atexit(leave) == 0);
    snprintf(link_path, sizeof link_path, "%s/link", directory);
    fill(content, sizeof content, 0);
    big = make_nameless(BIG_SIZE);
    layer = make_nameless(LAYER_SIZE);
    small = make_nameless(SMALL_SIZE);
    signal(SIGPIPE, SIG_IGN);
}

static void begin_script(void)
{
    static const fr_lane_settings SETTINGS = {10 * MINUTE, 20 * MINUTE, 30 * MINUTE, 1};

    step = is_drained = is_disk_cold = 0;
    total = 0;
    CHECK(fr_lane_init(&lane, &SETTINGS) == 0);
    close(make_file(link_path, 6000));
    for (size_t i = 0; i < COUNT(ANSWERS); i++) {
        versions[i].from[0] = -1;
        versions[i].to[0] = FOREVER;
        versions[i].count = 1;
        CHECK(publish_version(i, 0) == 0);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i].fd = clients[i].lane_fd = -1;
        clients[i].sent_size = clients[i].queued_size = 0;
        reads[i] = NULL;
    }
}

static void end_script(void)
{
    for (size_t i = 0; i < CLIENTS; i++)
        hang_up(&clients[i]);
    if (total % 2 == 0)
        fr_lane_cut_sending(&lane);
    fr_lane_free(&lane);
    CHECK(lane.connections.count == 0);
    for (size_t i = 0; i < CLIENTS; i++)
        if (reads[i] != NULL)
            fr_connection_free(reads[i]);
}

/* The first ones are the first to be given out, and to leak. */
static uint64_t open_descriptors(void)
{
    uint64_t found = 0;

    for (int fd = 0; fd < 64; fd++)
        found |= (uint64_t)is_open(fd) << fd;
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    uint64_t open_before;

    if (big == 0)
        prepare();
    open_before = open_descriptors();
    script = input;
    script_end = input + size;
    begin_script();
    while (script < script_end && total < MAX_BYTES)
        do_next();
    if (size % 4 != 0)
        settle_all();
    end_script();
    CHECK(open_descriptors() == open_before);
    return 0;
}
