#define _GNU_SOURCE

#include "connections.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int fr_connections_init(fr_connections *all)
{
    memset(all, 0, sizeof *all);
    all->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    return all->poll_fd < 0 ? -1 : 0;
}

void fr_connections_free(fr_connections *all)
{
    fr_connection *c;

    while ((c = all->lists[FR_READING].first) != NULL) {
        fr_connection_take(c);
        close(c->fd);
    }
    for (size_t name = 0; name < FR_LISTS; name++)
        while ((c = all->lists[name].first) != NULL)
            fr_connection_hang_up(c);
    close(all->poll_fd);
}

/* --- the lists */

void fr_connection_leave(fr_connection *c)
{
    fr_list *list = &c->all->lists[c->list];

    if (c->list == FR_NOWHERE)
        return;
    *(c->earlier != NULL ? &c->earlier->later : &list->first) = c->later;
    *(c->later != NULL ? &c->later->earlier : &list->last) = c->earlier;
    list->count--;
    c->list = FR_NOWHERE;
}

void fr_connection_enter(fr_connection *c, fr_list_name name, int64_t now_ms)
{
    fr_list *list = &c->all->lists[name];

    fr_connection_leave(c);
    c->list = (uint8_t)name;
    c->since_ms = now_ms;
    c->earlier = list->last;
    c->later = NULL;
    *(list->last != NULL ? &list->last->later : &list->first) = c;
    list->last = c;
    list->count++;
}

/* --- the epoll set */

int fr_connection_watch(fr_connection *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    int operation = c->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    if (c->watched == events)
        return 0;
    if (epoll_ctl(c->all->poll_fd, operation, c->fd, &event) != 0)
        return -1;
    c->watched = events;
    return 0;
}

void fr_connection_ignore(fr_connection *c)
{
    if (c->watched != 0)
        epoll_ctl(c->all->poll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    c->watched = 0;
}

/* --- one connection */

static void write_address(char *out, const struct sockaddr_storage *address)
{
    static const uint8_t MAPPED[12] = {[10] = 0xff, [11] = 0xff};
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;

    out[0] = 0;
    if (address->ss_family == AF_INET)
        inet_ntop(AF_INET, &v4->sin_addr, out, FR_ADDRESS_SIZE);
    else if (address->ss_family == AF_INET6 && memcmp(&v6->sin6_addr, MAPPED, sizeof MAPPED) == 0)
        inet_ntop(AF_INET, v6->sin6_addr.s6_addr + sizeof MAPPED, out, FR_ADDRESS_SIZE);
    else if (address->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &v6->sin6_addr, out, FR_ADDRESS_SIZE);
}

/* Whoever left while waiting in the queue, or could not be reached, is no failure of ours
 * (accept(2), "Error handling"). */
static int is_of_the_client(int error)
{
    return error == ECONNABORTED || error == EINTR || error == EPROTO || error == ENETDOWN ||
           error == EHOSTDOWN || error == EHOSTUNREACH || error == ENETUNREACH ||
           error == ENOPROTOOPT;
}

int fr_connection_accept(int socket, char address[FR_ADDRESS_SIZE])
{
    struct sockaddr_storage name = {0};
    socklen_t size = sizeof name;
    int fd;

    do
        fd = accept4(socket, (struct sockaddr *)&name, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd < 0 && is_of_the_client(errno));
    if (fd >= 0)
        write_address(address, &name);
    return fd;
}

fr_connection *fr_connection_open(fr_connections *all, int fd, const char *address,
                                  const char *data, size_t size, uint32_t events)
{
    fr_connection *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->all = all;
    c->fd = fd;
    snprintf(c->address, sizeof c->address, "%s", address);
    if (fr_connection_keep(c, data, size) != 0 || fr_connection_watch(c, events) != 0) {
        fr_connection_free(c);
        return NULL;
    }
    all->count++;
    return c;
}

int fr_connection_keep(fr_connection *c, const char *data, size_t size)
{
    char *kept = NULL;

    if (size > 0) {
        kept = malloc(size);
        if (kept == NULL)
            return -1;
        memcpy(kept, data, size);
    }
    free(c->received);
    c->received = kept;
    c->received_size = size;
    return 0;
}

void fr_connection_take(fr_connection *c)
{
    fr_connection_ignore(c);
    fr_connection_leave(c);
    c->all->count--;
}

void fr_connection_free(fr_connection *c)
{
    if (c->sending != NULL)
        fr_sending_free(c->sending);
    free(c->received);
    free(c);
}

void fr_connection_hang_up(fr_connection *c)
{
    fr_connection_take(c);
    close(c->fd);
    fr_connection_free(c);
}

void fr_connection_cut(fr_connection *c)
{
    struct linger reset = {1, 0};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    fr_connection_hang_up(c);
}
