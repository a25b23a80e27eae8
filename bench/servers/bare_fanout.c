/* The bare C broadcast: every message to everybody, its sender included. What arrived in one poll is joined and
 * sent with one send(2) a client. cc -O2 -o bare_fanout bare_fanout.c
 * usage: bare_fanout [PORT]; it prints the address it listens on. */
#include "bare.h"

static const int READS_GO_ON = 1; /* a slow reader may still speak */
static const size_t LARGEST_BACKLOG = 64 << 20;

static uint8_t *joined;
static size_t joined_len, joined_cap;

static void on_frames(conn *c, const uint8_t *frames, size_t n) {
    (void)c;
    append(&joined, &joined_len, &joined_cap, frames, n);
}

static void on_turn(void) {
    if (!joined_len) return;
    for (int fd = 0; fd < conns_len; fd++) {
        conn *c = conns[fd];
        if (c && c->open && (c->out_len > LARGEST_BACKLOG || put(c, joined, joined_len) < 0)) drop(c);
    }
    joined_len = 0;
}
