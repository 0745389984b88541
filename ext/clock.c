#define _GNU_SOURCE

#include "clock.h"

#include <stdio.h>
#include <time.h>

void fr_clock_look(fr_clock *clock)
{
    static const char DAYS[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char MONTHS[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct timespec t;
    struct tm d;

    clock_gettime(CLOCK_MONOTONIC, &t);
    clock->now_us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
    clock->now_ms = clock->now_us / 1000;
    clock_gettime(CLOCK_REALTIME, &t);
    if (clock->now == t.tv_sec)
        return;
    clock->now = t.tv_sec;
    gmtime_r(&t.tv_sec, &d);
    snprintf(clock->date, sizeof clock->date, "%s, %02u %s %04u %02u:%02u:%02u GMT",
             DAYS[d.tm_wday], (unsigned)d.tm_mday % 100, MONTHS[d.tm_mon],
             (unsigned)(d.tm_year + 1900) % 10000, (unsigned)d.tm_hour % 100,
             (unsigned)d.tm_min % 100, (unsigned)d.tm_sec % 100);
}
