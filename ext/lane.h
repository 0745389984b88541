/*
 * The fast lane: a worker's connections while they are idle, bring a head, or take a
 * published answer.
 *
 * A request that is not recognised, or that nothing published answers, leaves the lane with
 * its connection and all that was received of it (an fr_event), and comes back when it is
 * answered. The lane makes up no answer of its own and decides nothing.
 *
 * Everything happens in calls by one thread, which watches `connections.poll_fd` for reading
 * and calls fr_lane_turn when it is readable, and fr_lane_tick once a second. No call waits.
 * The process ignores SIGPIPE.
 */
#ifndef FASTREG_LANE_H
#define FASTREG_LANE_H

#include "access_lines.h"
#include "clock.h"
#include "connections.h"
#include "published.h"

enum { FR_MAX_EVENTS = 256 /* of one turn or tick */ };

typedef enum {
    FR_HANDOVER, /* take the connection out with fr_connection_take, and serve its request */
    FR_COLD_READ /* read the window of `sending` into the page cache, then fr_lane_resume */
} fr_event_kind;

typedef struct {
    fr_event_kind kind;
    fr_connection *connection;
} fr_event;

typedef struct {
    int64_t head_timeout_ms;
    int64_t idle_timeout_ms;
    int64_t send_timeout_ms;
    int logs_access;
} fr_lane_settings;

typedef struct {
    fr_lane_settings settings;
    fr_connections connections; /* reads of the disk included */
    fr_clock clock;
    fr_table table;
    fr_access_lines lines;
    int is_draining;
    uint64_t answered;
    char *buffer; /* what was just received */
    fr_event *events;
    size_t event_count;
} fr_lane;

/* Returns 0, or -1 with errno. */
int fr_lane_init(fr_lane *lane, const fr_lane_settings *settings);

/* Close every connection, and give everything back. One whose window is still being read is
 * closed as well, but keeps its file until fr_connection_free. */
void fr_lane_free(fr_lane *lane);

/*
 * Take over a connection, non-blocking and with TCP_NODELAY, and `size` bytes that it has
 * already brought. Returns 0, or -1 with errno when it stays the caller's.
 */
int fr_lane_adopt(fr_lane *lane, int fd, const char *address, unsigned listener, const char *data,
                  size_t size, int has_served);

/*
 * Accept a connection on a listening socket that does not block; what is accepted inherits
 * its TCP_NODELAY.
 * Returns 1, 0 when none is there, or -1 with errno.
 */
int fr_lane_accept(fr_lane *lane, int socket, unsigned listener);

/* Go round once: whatever can be answered now is. Fills lane->events. */
void fr_lane_turn(fr_lane *lane);

/* Look after timeouts. Fills lane->events. */
void fr_lane_tick(fr_lane *lane);

/* How long ago the request of a handed-over connection began to arrive. */
int64_t fr_lane_waited_ms(const fr_lane *lane, const fr_connection *connection);

/* Go on after a read of the disk. */
void fr_lane_resume(fr_lane *lane, fr_connection *connection);

/* Answer no further request: hand every one over. */
void fr_lane_drain(fr_lane *lane);

/* Bring to an end the connections that have been idle for that long. What they have sent
 * already is received all the same. */
void fr_lane_drop_idle(fr_lane *lane, int64_t grace_ms);

/* Before fr_lane_free: log the answers that are not sent yet, and cut their connections; those
 * that wait for the disk are left to it. */
void fr_lane_cut_sending(fr_lane *lane);

/* As fr_lookup_publish; a draft that has an end is renewed some time before. */
int fr_lane_publish(fr_lane *lane, const char *request, size_t size, fr_draft *draft);

#endif
