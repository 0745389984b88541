#define _GNU_SOURCE

#include "published.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* --- the hash: eight bytes at a time, mixed by multiplication; seeded, for targets are
 * chosen by clients */

static uint64_t mix(uint64_t a, uint64_t b)
{
    a = (a ^ b) * UINT64_C(0x9E3779B97F4A7C15);
    return a ^ a >> 32;
}

static uint64_t hash_of(uint64_t seed, const char *data, size_t size)
{
    uint64_t h = mix(seed, size), word;

    for (; size >= sizeof word; data += sizeof word, size -= sizeof word) {
        memcpy(&word, data, sizeof word);
        h = mix(h, word);
    }
    word = 0;
    memcpy(&word, data, size);
    return mix(mix(h, word), seed);
}

/* --- one answer */

static size_t path_size(const fr_witness *w)
{
    return w->path != NULL ? strlen(w->path) + 1 : 0;
}

static size_t weight(const fr_answer *a)
{
    size_t bytes = sizeof *a + a->key_size + a->head_size;

    for (unsigned i = 0; i < a->witness_count; i++)
        bytes += path_size(&a->witnesses[i]);
    return bytes + (a->body != NULL ? (size_t)a->body_size : 0);
}

void fr_answer_keep(fr_answer *a)
{
    a->references++;
}

void fr_answer_release(fr_answer *a)
{
    if (--a->references > 0)
        return;
    if (a->fd >= 0)
        close(a->fd);
    free(a);
}

/* Return where the value of the head's one line of that name begins; 0 unless it is one. */
static size_t value_of(const char *head, size_t size, const char *name)
{
    size_t length = strlen(name), found = 0;

    for (size_t at = 0; at + length <= size; at++) {
        if (head[at] != '\r' || memcmp(head + at, name, length) != 0)
            continue;
        if (found != 0)
            return 0;
        found = at + length;
    }
    return found;
}

static size_t end_of_line(const char *head, size_t size, size_t at)
{
    const char *end = memchr(head + at, '\r', size - at);

    return end != NULL ? (size_t)(end - head) : size;
}

/* Take the blob's size, and where it begins in the file, from the answer of one range. */
static int widen(fr_answer *a, const fr_draft *d)
{
    char text[64] = "";
    unsigned long long first, last, size;

    if (a->range_end - a->range_at >= sizeof text || d->body != NULL)
        return -1;
    memcpy(text, d->head + a->range_at, a->range_end - a->range_at);
    if (sscanf(text, "%20llu-%20llu/%20llu", &first, &last, &size) != 3 || first > last ||
        last >= size || last - first + 1 != d->body_size || first > d->file_offset)
        return -1;
    a->file_offset = d->file_offset - first;
    a->body_size = size;
    return 0;
}

/* Note what the head is about, and what of it varies from one request to the next. */
static int mark(fr_answer *a, const fr_draft *d)
{
    a->file_offset = d->file_offset;
    a->body_size = d->body_size;
    a->date_at = value_of(d->head, d->head_size, "\r\nDate: ");
    if (a->date_at == 0)
        return -1;
    if (end_of_line(d->head, d->head_size, a->date_at) - a->date_at != FR_DATE_SIZE)
        return -1;
    if (!d->is_range)
        return 0;
    a->range_at = value_of(d->head, d->head_size, "\r\nContent-Range: bytes ");
    a->length_at = value_of(d->head, d->head_size, "\r\nContent-Length: ");
    if (a->range_at == 0 || a->length_at < a->range_at)
        return -1;
    a->range_end = end_of_line(d->head, d->head_size, a->range_at);
    a->length_end = end_of_line(d->head, d->head_size, a->length_at);
    /* The date is written in place, where it is not one of the parts left out. */
    return a->date_at < a->range_at || a->date_at > a->length_end ? widen(a, d) : -1;
}

static const char *store(char **room, const char *data, size_t size)
{
    char *copy = *room;

    if (size > 0)
        memcpy(copy, data, size);
    *room += size;
    return copy;
}

/* Whether a file's bytes are worth more in memory than the system call that sends them. */
static int is_small(const fr_draft *d)
{
    return d->fd >= 0 && !d->is_range && d->body_size <= FR_SMALL_BODY;
}

typedef enum { READ, NOT_YET, NEVER } reading;

/* Read a small file if that takes no waiting. To ask begins to fetch what is not there. */
static reading read_cached(const fr_draft *d, char *out)
{
    struct iovec one = {out, (size_t)d->body_size};
    ssize_t count = preadv2(d->fd, &one, 1, (off_t)d->file_offset, RWF_NOWAIT);

    if (count == (ssize_t)d->body_size)
        return READ;
    return count > 0 || (count < 0 && errno == EAGAIN) ? NOT_YET : NEVER;
}

/* Everything but the descriptor is one piece of memory. */
static fr_answer *make_answer(const fr_draft *d)
{
    fr_answer marked = {.fd = -1};
    char small[FR_SMALL_BODY];
    reading how = is_small(d) ? read_cached(d, small) : NEVER;
    const char *body = how == READ ? small : d->body;
    size_t body_bytes = body != NULL ? (size_t)d->body_size : 0;
    size_t bytes = sizeof marked + d->key_size + d->head_size + body_bytes;
    fr_answer *a;
    char *room;

    if (how == NOT_YET || d->witness_count > FR_MAX_WITNESSES || d->head_size < sizeof "HTTP/1.1 200" ||
        mark(&marked, d) != 0)
        return NULL;
    for (unsigned i = 0; i < d->witness_count; i++)
        bytes += path_size(&d->witnesses[i]);
    a = malloc(bytes);
    if (a == NULL)
        return NULL;
    *a = marked;
    room = (char *)(a + 1);
    a->references = 1;
    a->key = store(&room, d->key, d->key_size);
    a->key_size = d->key_size;
    a->head = store(&room, d->head, d->head_size);
    a->head_size = d->head_size;
    a->until = d->until;
    a->renew = d->renew;
    a->status = atoi(a->head + sizeof "HTTP/1.1");
    a->witness_count = d->witness_count;
    for (unsigned i = 0; i < d->witness_count; i++) {
        a->witnesses[i] = d->witnesses[i];
        if (d->witnesses[i].path != NULL)
            a->witnesses[i].path = store(&room, d->witnesses[i].path, path_size(&d->witnesses[i]));
    }
    if (body != NULL)
        a->body = store(&room, body, body_bytes);
    else if (d->fd >= 0 && (a->fd = fcntl(d->fd, F_DUPFD_CLOEXEC, 0)) < 0) {
        fr_answer_release(a);
        return NULL;
    }
    return a;
}

static int64_t nanoseconds(struct statx_timestamp t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Not stat: NFS and FUSE answer that from attributes seconds old, where to open the file, as
 * the application does, asks again. On a local disk both cost the same. */
static int is_file_unchanged(const fr_witness *w)
{
    struct statx s;

    return statx(AT_FDCWD, w->path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &s) == 0 &&
           s.stx_ino == w->inode && makedev(s.stx_dev_major, s.stx_dev_minor) == w->device &&
           nanoseconds(s.stx_mtime) == w->mtime_ns && nanoseconds(s.stx_ctime) == w->ctime_ns &&
           (int64_t)s.stx_size == w->size;
}

static int holds(const fr_witness *w)
{
    return w->path != NULL ? is_file_unchanged(w)
                           : __atomic_load_n(w->counter, __ATOMIC_ACQUIRE) == w->value;
}

/* --- the table */

int fr_table_init(fr_table *t, size_t max_answers, size_t max_bytes, size_t max_files)
{
    memset(t, 0, sizeof *t);
    t->bucket_count = 64;
    while (t->bucket_count < max_answers)
        t->bucket_count *= 2;
    t->max_answers = max_answers;
    t->max_bytes = max_bytes;
    t->max_files = max_files;
    t->buckets = calloc(t->bucket_count, sizeof *t->buckets);
    if (t->buckets == NULL)
        return -1;
    if (getrandom(&t->seed, sizeof t->seed, GRND_NONBLOCK) != sizeof t->seed)
        t->seed = (uint64_t)time(NULL) ^ (uint64_t)(uintptr_t)t->buckets;
    return 0;
}

static fr_answer **bucket_of(fr_table *t, uint64_t hash)
{
    return &t->buckets[hash & (t->bucket_count - 1)];
}

static void unlink_use(fr_table *t, fr_answer *a)
{
    *(a->newer != NULL ? &a->newer->older : &t->newest) = a->older;
    *(a->older != NULL ? &a->older->newer : &t->oldest) = a->newer;
}

static void link_newest(fr_table *t, fr_answer *a)
{
    a->newer = NULL;
    a->older = t->newest;
    *(t->newest != NULL ? &t->newest->newer : &t->oldest) = a;
    t->newest = a;
}

static void drop(fr_table *t, fr_answer *a)
{
    fr_answer **link = bucket_of(t, a->hash);

    while (*link != a)
        link = &(*link)->next_alike;
    *link = a->next_alike;
    unlink_use(t, a);
    t->answers--;
    t->bytes -= weight(a);
    t->files -= a->fd >= 0;
    fr_answer_release(a);
}

void fr_table_clear(fr_table *t)
{
    while (t->oldest != NULL)
        drop(t, t->oldest);
}

void fr_table_free(fr_table *t)
{
    fr_table_clear(t);
    free(t->buckets);
    t->buckets = NULL;
}

static fr_answer *look_up(fr_table *t, uint64_t hash, const char *key, size_t key_size)
{
    fr_answer *a = *bucket_of(t, hash);

    while (a != NULL && (a->hash != hash || a->key_size != key_size ||
                         memcmp(a->key, key, key_size) != 0))
        a = a->next_alike;
    return a;
}

int fr_table_publish(fr_table *t, const fr_draft *draft)
{
    uint64_t hash = hash_of(t->seed, draft->key, draft->key_size);
    fr_answer *a = look_up(t, hash, draft->key, draft->key_size);

    if (a != NULL)
        drop(t, a);
    a = make_answer(draft);
    if (a == NULL)
        return -1;
    if (weight(a) > t->max_bytes) { /* or all others would go first */
        fr_answer_release(a);
        return -1;
    }
    a->hash = hash;
    a->last_used = t->sweeps;
    a->seen_in_memory = -1;
    a->next_alike = *bucket_of(t, hash);
    *bucket_of(t, hash) = a;
    link_newest(t, a);
    t->answers++;
    t->bytes += weight(a);
    t->files += a->fd >= 0;
    while (t->oldest != NULL && (t->answers > t->max_answers || t->bytes > t->max_bytes))
        drop(t, t->oldest);
    for (fr_answer *next, *each = t->oldest; each != NULL && t->files > t->max_files; each = next) {
        next = each->newer;
        if (each->fd >= 0)
            drop(t, each);
    }
    return look_up(t, hash, draft->key, draft->key_size) != NULL ? 0 : -1;
}

fr_answer *fr_table_find(fr_table *t, const char *key, size_t key_size, int64_t now_ms)
{
    fr_answer *a = look_up(t, hash_of(t->seed, key, key_size), key, key_size);
    int is_good = a != NULL && now_ms < a->until;

    for (unsigned i = 0; is_good && i < a->witness_count; i++)
        is_good = holds(&a->witnesses[i]);
    if (!is_good) {
        if (a != NULL)
            drop(t, a);
        return NULL;
    }
    if (now_ms >= a->renew) {
        a->renew = a->until;
        return NULL;
    }
    a->last_used = t->sweeps;
    if (a != t->newest) {
        unlink_use(t, a);
        link_newest(t, a);
    }
    return a;
}

void fr_table_sweep(fr_table *t, int64_t sweeps, int64_t now_ms)
{
    int64_t before = ++t->sweeps - sweeps;

    for (fr_answer *newer, *a = t->oldest; a != NULL; a = newer) {
        newer = a->newer;
        if (a->fd >= 0 && (a->last_used < before || now_ms >= a->until))
            drop(t, a);
    }
}
