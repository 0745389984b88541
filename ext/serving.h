/*
 * What is done with one connection of the lane: its requests are answered one after the other,
 * until it has to wait, is handed over (an event), or ends.
 *
 * After any of these calls the connection may be gone.
 */
#ifndef FASTREG_SERVING_H
#define FASTREG_SERVING_H

#include "lane.h"

enum { FR_BUFFER_SIZE = 64 << 10 }; /* of lane->buffer: received at once */

/* Receive, and answer. */
void fr_serve_received(fr_lane *lane, fr_connection *c, size_t budget);

/* Go on with c->sending, and then with the requests behind it. */
void fr_serve_sending(fr_lane *lane, fr_connection *c, size_t budget);

/* Give c->sending up. */
void fr_serve_cut(fr_lane *lane, fr_connection *c);

/* Hand over with what was received, though it is no whole head. */
void fr_serve_hand_over(fr_lane *lane, fr_connection *c);

/* Write the access line of c->sending as far as it has come; the connection stays. */
void fr_serve_log(fr_lane *lane, const fr_connection *c);

#endif
