/*
 * The table of published answers: what the application answered once, by the exact request,
 * with the witnesses that must hold for it to be given again.
 *
 * A witness is the status of a file that the answer was made from. Whoever changes such a
 * file replaces it, so one statx(2) tells whether the answer still holds, whichever process
 * made the change. Or it is the value of a counter in memory that all processes share, which
 * whoever changes what the answer was made from moves on afterwards. Nothing of that is
 * believed for longer than one request; an answer that others may change unnoticed ends by
 * itself.
 *
 * The table is bounded by answers, by bytes in memory and by open files; beyond, what was
 * not asked for the longest goes. One thread at a time.
 */
#ifndef FASTREG_PUBLISHED_H
#define FASTREG_PUBLISHED_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "clock.h"

enum {
    FR_MAX_WITNESSES = 3, /* tag link, revision link, content */
    FR_SMALL_BODY = 64 << 10,
};

typedef struct {
    const char *path; /* of a file; NULL for a counter */
    uint64_t device;
    uint64_t inode;
    int64_t mtime_ns;
    int64_t ctime_ns;
    int64_t size;
    const uint64_t *counter; /* stays as long as the answer is published */
    uint64_t value;
} fr_witness;

typedef struct fr_answer {
    struct fr_answer *next_alike;               /* in the bucket */
    struct fr_answer *newer, *older;            /* by last use */
    uint64_t hash;
    const char *key;
    size_t key_size;
    const char *head;                           /* status line to empty line */
    size_t head_size;
    size_t date_at;                             /* of the Date's value in the head */
    size_t range_at, range_end;                 /* of what follows `Content-Range: bytes ` */
    size_t length_at, length_end;               /* of the Content-Length's value; 0: no range */
    const char *body;                           /* of `body_size` bytes; NULL: in the file */
    int fd;                                     /* -1: none */
    uint64_t file_offset;                       /* where the body begins in the file */
    uint64_t body_size;                         /* of a range's answer: the whole blob */
    int64_t until;                              /* monotonic milliseconds; INT64_MAX: no end */
    int64_t renew;                              /* from when on one request passes it by */
    int64_t last_used;                          /* the sweep before which it was asked for */
    int64_t seen_in_memory;                     /* a file of one window: as last_used */
    int status;
    unsigned references;
    unsigned witness_count;
    fr_witness witnesses[FR_MAX_WITNESSES];
} fr_answer;

typedef struct {
    fr_answer **buckets;
    size_t bucket_count;
    fr_answer *newest, *oldest;
    uint64_t seed;
    size_t answers, max_answers;
    size_t bytes, max_bytes;
    size_t files, max_files;
    int64_t sweeps; /* so far */
} fr_table;

/* What an answer is made of; everything is copied, the descriptor duplicated, or read where
 * the body is small and in the page cache. */
typedef struct {
    const char *key;
    size_t key_size;
    const char *head;
    size_t head_size;
    const char *body; /* or NULL for what `fd` has */
    int fd;
    uint64_t file_offset;
    uint64_t body_size;
    int is_range; /* the head answers one range of the blob: the parts that vary are marked */
    int64_t until;
    int64_t renew;
    const fr_witness *witnesses;
    unsigned witness_count;
} fr_draft;

/* Returns 0, or -1 when memory is short. */
int fr_table_init(fr_table *t, size_t max_answers, size_t max_bytes, size_t max_files);

/* Drop every answer. */
void fr_table_clear(fr_table *t);

/* Clear, and give back the table's own memory. */
void fr_table_free(fr_table *t);

/*
 * Publish an answer, in the place of what was published for the key.
 * Returns 0; -1 with nothing published for the key when the draft cannot be repeated: a
 * head without one Date, or for a range without one Content-Range before one
 * Content-Length, more than the table may hold, memory or descriptors short. Also for a
 * small file that would have to be waited for: it will be there the next time.
 */
int fr_table_publish(fr_table *t, const fr_draft *draft);

/*
 * Return the answer to give to the request of that key at this moment, all of its
 * witnesses just seen to hold; NULL where there is none. One that no longer holds is dropped.
 * It is valid until the table's next call unless fr_answer_keep is called.
 *
 * One that has an end is NULL once before: that request is answered by the application, which
 * publishes anew, while all others are spared the waiting.
 */
fr_answer *fr_table_find(fr_table *t, const char *key, size_t key_size, int64_t now_ms);

/* Drop what has a file open and was not asked for in the time of the last `sweeps`, or has come
 * to its end, so that a deleted blob's space is given back. */
void fr_table_sweep(fr_table *t, int64_t sweeps, int64_t now_ms);

/* Keep an answer beyond the table's next call, until fr_answer_release. */
void fr_answer_keep(fr_answer *a);
void fr_answer_release(fr_answer *a);

#endif
