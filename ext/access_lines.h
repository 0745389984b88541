/*
 * Access log lines, put together in memory and written elsewhere.
 *
 * A line is that of the Combined Log Format, as fastreg/logs.py writes it. Nothing but
 * backslashes is escaped here: what is logged must have passed fr_request_head_parse.
 */
#ifndef FASTREG_ACCESS_LINES_H
#define FASTREG_ACCESS_LINES_H

#include <stddef.h>
#include <stdint.h>

#include "request_head.h"

typedef struct {
    char *data;
    size_t size, room;
    int64_t second;     /* of which `time` tells */
    char time[32];      /* 10/Oct/2000:13:55:36 +0000 */
    uint64_t lost;      /* lines there was no memory for */
} fr_access_lines;

/* Add the line of an answered request; `now` is in Unix seconds. */
void fr_access_lines_add(fr_access_lines *lines, const char *address, const fr_request_head *head,
                         int status, uint64_t bytes_sent, int64_t now);

void fr_access_lines_free(fr_access_lines *lines);

#endif
