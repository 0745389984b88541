#include "lookup.h"

#include <string.h>

#include "routes.h"
#include "sending.h"

enum { KEY_SIZE = FR_MAX_HEAD + 8 };

/* An answer must be the same for the very same of all that it can depend on. */
static size_t write_key(char *key, const fr_request_head *head)
{
    const fr_slice parts[] = {head->target, head->if_none_match, head->authorization};
    size_t size = 0;

    key[size++] = head->method == FR_HEAD ? 'H' : head->has_range ? 'R' : 'G';
    key[size++] = head->closes ? 'C' : 'K';
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].size > 0)
            memcpy(key + size, parts[i].data, parts[i].size);
        size += parts[i].size;
        key[size++] = '\n';
    }
    return size;
}

static int is_looked_up(const fr_request_head *head)
{
    fr_route route = fr_route_find(head->target);

    return route == FR_ROUTE_BLOB || (route != FR_ROUTE_NONE && !head->has_range);
}

fr_answer *fr_lookup(fr_table *table, const fr_request_head *head, int64_t now_ms)
{
    char key[KEY_SIZE];

    return is_looked_up(head) ? fr_table_find(table, key, write_key(key, head), now_ms) : NULL;
}

int fr_lookup_publish(fr_table *table, const char *request, size_t size, fr_draft *draft)
{
    char key[KEY_SIZE];
    fr_request_head head;
    size_t used;

    if (fr_request_head_parse(request, size, &head, &used) != FR_HEAD_RECOGNISED || used != size ||
        !is_looked_up(&head) || draft->head_size > FR_MAX_ANSWER_HEAD)
        return -1;
    draft->key = key;
    draft->key_size = write_key(key, &head);
    draft->is_range = head.has_range;
    return fr_table_publish(table, draft);
}
