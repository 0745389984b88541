/*
 * One answer of the lane on its way to a socket that does not block.
 *
 * Head and body leave together. A file is sent by sendfile(2) in windows, each looked up in
 * the page cache first, so that nobody waits for the disk in here.
 */
#ifndef FASTREG_SENDING_H
#define FASTREG_SENDING_H

#include "published.h"
#include "request_head.h"

enum {
    FR_MAX_ANSWER_HEAD = 16 << 10,
    FR_WINDOW = 1 << 20,     /* of a file: read at once when the disk has to */
    FR_MAX_STRIDE = 8 << 20, /* looked up at once when all was in memory so far */
};

typedef struct {
    fr_answer *answer;
    fr_request_head request; /* for the access log */
    const char *head;
    size_t head_size, head_sent;
    uint64_t at, end; /* of the body: what is to be sent next, and where to stop */
    uint64_t begin;
    uint64_t warm_end; /* up to where the file is known to be in memory */
    uint64_t stride;   /* how much of it to look for the next time */
} fr_sending;

typedef enum {
    FR_SENT,
    FR_BLOCKED, /* the socket takes no more, or the budget is used up */
    FR_COLD,    /* the file from `at` on must be read from the disk first */
    FR_GONE,    /* the client left, or the file ended early: cut the connection */
} fr_progress;

/*
 * Begin to give `answer` to `request`. `date` has FR_DATE_SIZE bytes; `scratch` has room
 * for FR_MAX_ANSWER_HEAD bytes and must stay as long as *s, or until fr_sending_put_away.
 * Returns 0, or -1 when the answer does not fit the request: a range outside the blob.
 */
int fr_sending_begin(fr_sending *s, fr_answer *answer, const fr_request_head *request,
                     const char *date, char *scratch);

/* Send on, of a file at most about `budget` bytes. */
fr_progress fr_sending_advance(fr_sending *s, int sock, size_t budget);

/* Take the window from `at` on for one in memory: it was just read. */
void fr_sending_warm(fr_sending *s);

/*
 * Whether some bytes of a file, one at least, are in the page cache, as far as a few of their
 * pages tell: windows are read whole.
 *
 * Asked by mincore(2). A read that must not wait (RWF_NOWAIT) would fetch the page that it
 * does not find: who only looked at the ends of a window would find them there the next time,
 * and nothing between. It tells only of a file that is the process's own or its to write, and
 * says yes of any other.
 */
int fr_file_is_resident(int fd, uint64_t offset, uint64_t size);

uint64_t fr_sending_window(const fr_sending *s); /* bytes of the window from `at` on */
uint64_t fr_sending_sent(const fr_sending *s);   /* bytes of the body */

/* Return a copy that depends on nothing but itself and keeps the answer; NULL when memory is
 * short. fr_sending_free ends it. */
fr_sending *fr_sending_put_away(const fr_sending *s);
void fr_sending_free(fr_sending *s);

#endif
