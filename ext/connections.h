/*
 * The lane's connections: what is known of each, the list that each waits in, and the epoll
 * set that watches them.
 *
 * A list is in the order of its deadlines: what enters it comes last. What its connections
 * wait for, and how long, is the lane's business.
 */
#ifndef FASTREG_CONNECTIONS_H
#define FASTREG_CONNECTIONS_H

#include "sending.h"

enum { FR_ADDRESS_SIZE = 64 };

typedef enum {
    FR_NOWHERE,
    FR_BEGINNING,
    FR_IDLE,
    FR_SENDING_LIST,
    FR_READING, /* waiting for the disk */
    FR_LISTS
} fr_list_name;

typedef struct fr_connections fr_connections;

typedef struct fr_connection {
    fr_connections *all;
    struct fr_connection *earlier, *later; /* in a list, by `since` */
    int64_t since_ms;                      /* of the list's clock: begun, idle, last progress */
    fr_sending *sending;
    char *received; /* and not consumed */
    size_t received_size;
    int fd;
    unsigned listener;
    uint32_t watched; /* epoll events */
    uint8_t list;
    uint8_t has_served;
    char address[FR_ADDRESS_SIZE];
} fr_connection;

typedef struct {
    fr_connection *first, *last;
    size_t count;
} fr_list;

struct fr_connections {
    int poll_fd;
    size_t count; /* in a list or in none */
    fr_list lists[FR_LISTS];
};

/* Returns 0, or -1 with errno. */
int fr_connections_init(fr_connections *all);

/* Hang up all that are in a list, but for those of FR_READING: of these only the descriptor is
 * closed, and fr_connection_free remains. */
void fr_connections_free(fr_connections *all);

/* Accept without waiting. Returns a descriptor that does not block, and the client's address,
 * empty where it has none; or -1 with errno, EAGAIN when nobody is there. */
int fr_connection_accept(int socket, char address[FR_ADDRESS_SIZE]);

/* Make one for a descriptor and what it has brought, watched for `events` and in no list.
 * Returns NULL with errno when the descriptor stays the caller's. */
fr_connection *fr_connection_open(fr_connections *all, int fd, const char *address,
                                  const char *data, size_t size, uint32_t events);

/* Have it in that list alone, as the last. */
void fr_connection_enter(fr_connection *c, fr_list_name name, int64_t now_ms);
void fr_connection_leave(fr_connection *c);

/* Watch for these events instead of any others. Returns 0, or -1 with errno. */
int fr_connection_watch(fr_connection *c, uint32_t events);
void fr_connection_ignore(fr_connection *c);

/* Have `data` for what was received and not consumed; it may be part of what is kept already.
 * Returns 0, or -1 with nothing changed. */
int fr_connection_keep(fr_connection *c, const char *data, size_t size);

/* Take one out: its descriptor is the caller's, free it after use. */
void fr_connection_take(fr_connection *c);
void fr_connection_free(fr_connection *c);

void fr_connection_hang_up(fr_connection *c);

/* Hang up such that no client takes what it got for the whole. */
void fr_connection_cut(fr_connection *c);

#endif
