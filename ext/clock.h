/* What time it is, looked up once for all that happens in one go. */
#ifndef FASTREG_CLOCK_H
#define FASTREG_CLOCK_H

#include <stdint.h>

enum { FR_DATE_SIZE = 29 /* Sun, 06 Nov 1994 08:49:37 GMT */ };

typedef struct {
    int64_t now_us; /* monotonic */
    int64_t now_ms;
    int64_t now;    /* Unix seconds */
    char date[FR_DATE_SIZE + 1];
} fr_clock;

void fr_clock_look(fr_clock *clock);

#endif
