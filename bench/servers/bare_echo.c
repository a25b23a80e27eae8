/* The bare C echo: what one core can do when a server does nothing else. cc -O2 -o bare_echo bare_echo.c
 * usage: bare_echo [PORT]; it prints the address it listens on. */
#include "bare.h"

static const int READS_GO_ON = 0; /* who does not read is not read from */

/* One send for all the frames of one read. */
static void on_frames(conn *c, const uint8_t *frames, size_t n) { put(c, frames, n); }

static void on_turn(void) {}
