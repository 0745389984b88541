/*
 * The recogniser of requests whose answer depends on nothing but method, target,
 * Authorization, If-None-Match and Range.
 *
 * It knows a strict subset of what fastreg/server/head.py accepts and understands all of it
 * the same way; whatever is longer, rarer, odd or refused there is FR_HEAD_OTHER and left to
 * that parser. The subset:
 *
 *   - `GET` or `HEAD`, one space, the target, ` HTTP/1.1`; no empty line before
 *   - a target of segments of letters, digits and `._-:`, none empty but the last, none `.`
 *     or `..`; behind it at most `?ns=` and 1 to 255 of the same characters
 *   - every line ends in CRLF, none is folded; names are tokens without `_`, values printable
 *     ASCII with blanks (no tabs) around them; at most 64 headers
 *   - one Host; at most one each of Connection (`keep-alive` or `close`), Authorization,
 *     If-None-Match (one strong tag, `"algorithm:hex"`), Range (GET alone), User-Agent and
 *     Referer; none of them empty
 *   - nothing about a body, another protocol or another condition: no Content-*, If-*,
 *     Transfer-Encoding, TE, Trailer, Expect, Upgrade, Proxy*
 *
 * Any other header is skipped. No allocation, one pass, nothing is kept between calls.
 */
#ifndef FASTREG_REQUEST_HEAD_H
#define FASTREG_REQUEST_HEAD_H

#include <stddef.h>
#include <stdint.h>

#define FR_MAX_HEAD 8192 /* bytes, the empty line included */

typedef struct {
    const char *data;
    size_t size;
} fr_slice;

typedef enum { FR_GET, FR_HEAD } fr_method;

typedef struct {
    fr_method method;
    fr_slice target;        /* as sent; at most 900 bytes, so that no access line cuts it */
    fr_slice authorization; /* this and the next: without blanks around; size 0: absent */
    fr_slice if_none_match; /* with its quotes */
    fr_slice user_agent;    /* this and the next: an access line doubles each `\`, no more; */
    fr_slice referer;       /* at most 495 bytes, so that it never cuts them */
    int has_range; /* first-last, both inclusive, first <= last; or first- */
    uint64_t range_first;
    uint64_t range_last; /* UINT64_MAX for an open end */
    int closes;          /* the connection, once this is answered: docker and skopeo ask for it */
} fr_request_head;

typedef enum { FR_HEAD_RECOGNISED, FR_HEAD_PARTIAL, FR_HEAD_OTHER } fr_head_result;

/*
 * Look at the first of the `size` bytes at `data`.
 *
 * RECOGNISED: `head` is set, its slices point into `data`, and `*used` is the head's size with
 * the empty line. PARTIAL: more bytes may make it that. OTHER: no bytes will. `head` and
 * `*used` mean nothing then.
 */
fr_head_result fr_request_head_parse(const char *data, size_t size, fr_request_head *head,
                                     size_t *used);

#endif
