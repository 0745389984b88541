/*
 * What is published for a request: the table's key is all of the request that an answer can
 * depend on.
 */
#ifndef FASTREG_LOOKUP_H
#define FASTREG_LOOKUP_H

#include "published.h"
#include "request_head.h"

/* As fr_table_find. */
fr_answer *fr_lookup(fr_table *table, const fr_request_head *head, int64_t now_ms);

/* As fr_table_publish, for the request that has this head (with its empty line); -1 also for
 * one that is not recognised, or never looked up. */
int fr_lookup_publish(fr_table *table, const char *request, size_t size, fr_draft *draft);

#endif
