/* A table of published answers, and what is put into it. */
#ifndef FASTREG_PUBLISHED_GIVEN_H
#define FASTREG_PUBLISHED_GIVEN_H

#include "checking.h"

#define HEAD "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nContent-Length: 4\r\n\r\n"

enum { NOW = 1000 };

static inline fr_table given_table(size_t answers, size_t bytes, size_t files)
{
    fr_table t;

    CHECK(fr_table_init(&t, answers, bytes, files) == 0);
    return t;
}

static inline int publish(fr_table *t, const char *key, const char *body)
{
    fr_draft draft = draft_of(key, HEAD, body);

    return fr_table_publish(t, &draft);
}

static inline fr_answer *find(fr_table *t, const char *key)
{
    return fr_table_find(t, key, strlen(key), NOW);
}

#endif
