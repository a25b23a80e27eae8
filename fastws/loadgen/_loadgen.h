/* The load generator's engine: one epoll loop in one thread drives many WebSocket clients, without the GIL and
 * without an object per message.
 *
 *   _loadgen.c            the Python type
 *   _loadgen_loop.c       open, run and close all clients; wait for their sockets
 *   _loadgen_schedule.c   when a client sends, and what a received message means for its scenario
 *   _loadgen_client.c     one client: its socket, what it sends, how it ends
 *   _loadgen_upgrade.c    the opening handshake
 *   _loadgen_frames.c     received frames
 *   _loadgen_message.c    what is inside received messages: stamps, merged messages, compression
 *   _loadgen_tls.c        OpenSSL
 *   _loadgen_histogram.c  latencies
 *
 * worker.py makes the frame and the request heads, and calls `open`, `run` and `close` in one thread. Another thread
 * may read `counters`, `interval` and `errors` at any time: they load aligned 64-bit words that the loop stores, so
 * a value can be a moment old but never torn. Nothing here calls Python without the GIL.
 *
 * This is a measuring instrument and no client for data of strangers. It does not check that text is UTF-8, and it
 * masks all frames of a run with one key, because it knows their content. (RFC 6455, section 5.3 asks for a fresh
 * key so that an attacker cannot choose the bytes on the wire. With one key a frame of 1 MiB is made once and not at
 * each send.)
 */
#ifndef FASTWS_LOADGEN_H
#define FASTWS_LOADGEN_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifndef __linux__
#error "the load generator needs epoll"
#endif

#include <stdint.h>
#include <sys/socket.h>

enum scenario { ECHO, FANOUT, ROOM, CONNECT, IDLE };

/* A client's life, in this order. CLOSING: our close frame is sent, or waits behind data. */
enum state { UNUSED, CONNECTING, TLS_HANDSHAKE, UPGRADING, OPEN, CLOSING };

/* Why a client was lost or never opened. The detail is an errno, a status or a close code: errors.py has the words. */
enum kind { E_CONNECT, E_TIMEOUT, E_TLS, E_REFUSED, E_UPGRADE, E_CLOSED, E_EOF, E_SOCKET, E_PROTOCOL, E_DEFLATE,
            E_STALLED, E_FOREIGN };

enum { CARRY_SIZE = 160, HEAD_SIZE = 16384, BUFFER_SIZE = 1 << 18, BATCH_SIZE = 1 << 16, ERRORS = 64,
       NOTE_SIZE = 200, STAMP_DIGITS = 8 };

#define MS INT64_C(1000000)
#define S INT64_C(1000000000)

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct z_stream_s z_stream;

typedef struct {
    int fd;
    uint8_t state, armed;          /* armed: epoll reports when the socket can be written */
    uint8_t dirty;                 /* is in g->dirty: has something to send at the end of this turn */
    uint8_t fin, in_message;       /* FIN of the frame whose payload arrives; a message has begun */
    uint8_t compressed, inflates;  /* this message has RSV1; this client decompresses such messages */
    uint8_t fresh_window;          /* server_no_context_takeover was agreed */
    uint8_t digits;                /* of the stamp being read: 0 none, 1 mark seen, 2.. digits, STAMP_DIGITS + 1 all;
                                    * echo: of the nonce, as many as were our own so far */
    uint8_t carry_len, control_len;
    uint8_t nonce[STAMP_DIGITS];   /* stands in each message of this client, and of no other */
    uint8_t carry[CARRY_SIZE];     /* a frame header or a control frame that is not complete */
    uint8_t control[136];          /* the newest pong, or our close frame; sent at the next frame's boundary */
    uint64_t left;                 /* payload bytes of the current frame still to come */
    uint64_t length;               /* of the current message, or of the part between two separators */
    uint64_t stamp;
    int64_t since;                 /* connecting: its start, or when it was due; closing: the close frame */
    const uint8_t *out;            /* what is being sent: lies in g->frames or in obuf */
    size_t out_len, obuf_size;
    uint8_t *obuf;
    const uint8_t *tail;           /* follows `out` and belongs to the same frame */
    size_t tail_len;
    uint64_t unsent;               /* messages scheduled and not yet in `out` */
    uint64_t scheduled, built, received; /* messages scheduled, put into `out`, received (of those that count) */
    uint64_t given_up;             /* echo: messages whose answers are no longer waited for and may still come */
    int64_t *scheduled_at;         /* closed-loop echo: a ring of `depth` moments */
    uint8_t *head;                 /* the response head while it arrives */
    size_t head_len;
    SSL *ssl;
    z_stream *z;
    uint32_t handshake;            /* which of the prepared requests it uses */
} client;

struct counts { /* all uint64_t: the Python side copies them as an array */
    uint64_t scheduled, sent, received, other, bytes_in, rounds, opened, failed, lost, stalls, late_ns, pings, foreign;
};
enum { COUNTS = sizeof(struct counts) / sizeof(uint64_t) };

struct snapshot { /* what the run had done, and what this thread had cost, at one moment */
    struct counts counts;
    int64_t wall, cpu, waited;
};

enum { HIST_HALF_BITS = 10, HIST_HALF = 1 << HIST_HALF_BITS, HIST_LEN = 33 * HIST_HALF };

typedef struct { /* where clients connect to */
    struct sockaddr_storage address;
    socklen_t address_len;
    char *server_name;
    int server_is_ip;
} endpoint;

typedef struct {
    PyObject_HEAD
    /* settings */
    enum scenario scenario;
    endpoint *endpoints;           /* the clients take them in turn, as they take the handshakes */
    uint32_t endpoints_len;
    uint32_t n, senders, depth, window, handshakes_len; /* senders: the first of the clients; 0: all only receive */
    struct { uint8_t *head; size_t head_len; char accept[29]; } *handshakes;
    uint8_t *frames;               /* `batch` copies of the frame, masked, ready to send */
    size_t frame_len, batch;
    Py_ssize_t stamp_at;           /* where the stamp's digits are in a frame; -1: messages carry no stamp */
    Py_ssize_t nonce_at, nonce_offset; /* where the nonce begins in a frame, and in the message */
    Py_ssize_t nonce_len;          /* 0: messages carry none */
    uint64_t nonce_seed;
    uint8_t stamp_mask[STAMP_DIGITS]; /* masks the digits of the stamp, or of the nonce */
    int64_t size;                  /* of a message that counts; -1: any */
    int separator;                 /* between merged messages; -1: none */
    double interval, phase;        /* ns between messages of an open loop; 0: closed loop */
    int deflate, send_once;        /* permessage-deflate is offered; idle clients send one message */
    int to_others;                 /* the server does not send a message back to its sender */
    int tls, verify;
    SSL_CTX *ctx;
    /* the loop */
    int epfd, busy, no_pwait2;
    int reads_content;             /* messages carry stamps or nonces or are merged: their bytes are looked at */
    int stop;                      /* set by Python, at any time */
    int until_drained;             /* the last answer, and not `until`, ends the measured time */
    int64_t now, base, begin, from, until, limit; /* limit: of TCP, TLS and upgrade together */
    client *clients, **dirty;
    size_t dirty_len;
    uint32_t alive, opening, next_open, next_sender;
    uint64_t due;                  /* messages (or rounds, or connections) of the schedule begun so far */
    uint8_t *buf, *inflated;
    /* closed-loop fan-out: complete[m % ring] clients have received message m */
    uint32_t *complete, ring;
    int recount;                   /* a client was lost: count again who has received what */
    uint64_t scheduled, completed;
    /* a room's round */
    int64_t round_at, progress_at;
    int64_t given_up_at;           /* messages of a fan-out that are older than this are no longer waited for */
    uint32_t round_size, round_complete; /* messages that each receives; clients that have received them all */
    int in_round;
    /* results */
    struct counts counts;
    struct snapshot snapshot[2];   /* at `from` and at `until`, or when the run was stopped */
    int snapshots;
    struct { uint32_t kind, detail; uint64_t count; } errors[ERRORS];
    char note[NOTE_SIZE];          /* the first refusal, close or TLS failure, in the server's words */
    uint64_t *hist, *hist_seen;    /* hist_seen: as it was at the last `interval` */
} generator;

static inline const endpoint *endpoint_of(const generator *g, const client *c) {
    return g->endpoints + (c - g->clients) % g->endpoints_len;
}

/* A function that returns int returns -1 when the client is gone or an exception is set, unless it says more. */

/* _loadgen_loop.c */
int64_t now_ns(void);
void loop_open(generator *g, uint32_t at_once, int64_t ramp);
void loop_run(generator *g, int64_t drain);
void loop_answer_pings(generator *g);
void loop_close(generator *g, int64_t patience);

/* _loadgen_schedule.c */
int64_t schedule_message_at(const generator *g, const client *c, uint64_t k);
void schedule_message(generator *g, client *c, int64_t at);
void schedule_received(generator *g, client *c, int64_t length, int64_t stamp);
void schedule_opened(generator *g, client *c);
void schedule_begin_echo(generator *g);
int64_t schedule_step(generator *g);
int schedule_drained(const generator *g);
void schedule_unanswered(generator *g);

/* _loadgen_client.c */
void client_count_error(generator *g, uint32_t kind, uint32_t detail);
void client_keep_note(generator *g, const char *text, size_t n);
int client_connect(generator *g, client *c, int64_t since);
void client_watch(generator *g, client *c, int writes);
void client_mark_dirty(generator *g, client *c);
ssize_t client_recv(generator *g, client *c, uint8_t *p, size_t n);
int client_flush(generator *g, client *c);
void client_put_control(client *c, uint8_t opcode, const uint8_t *payload, uint8_t n);
void client_begin_close(generator *g, client *c);
int client_fail(generator *g, client *c, uint32_t kind, uint32_t detail);
void client_release(generator *g, client *c, int reset);

/* _loadgen_upgrade.c */
int upgrade_connected(generator *g, client *c);
int upgrade_send_request(generator *g, client *c);
int upgrade_read(generator *g, client *c, const uint8_t *p, size_t n);

/* _loadgen_frames.c */
int frames_read(generator *g, client *c, const uint8_t *p, const uint8_t *end);

/* _loadgen_message.c */
extern const char STAMP_MARK, STAMP_ALPHABET[65];
void message_init(void);
int message_load_zlib(void);
int message_begin(client *c, int compressed);
int message_bytes(generator *g, client *c, const uint8_t *p, size_t n);
int message_end(generator *g, client *c);
void message_whole(generator *g, client *c, const uint8_t *p, size_t n);
void message_release(client *c);

/* _loadgen_tls.c */
int load_library(const char *const *libraries, const char *const *names, void **table, const char *missing);
int tls_new_context(generator *g);
void tls_free_context(generator *g);
int tls_start(generator *g, client *c);
int tls_handshake(generator *g, client *c);
ssize_t tls_send(generator *g, client *c, const uint8_t *p, size_t n);
ssize_t tls_recv(generator *g, client *c, uint8_t *p, size_t n);
void tls_release(client *c);

/* _loadgen_histogram.c */
static const uint64_t HIST_MAX = 3600ull * 1000000000ull;

/* Inlined: called for each message that is received. */
static inline void hist_record(generator *g, int64_t ns) {
    uint64_t v = ns < 0 ? 0 : (uint64_t)ns;
    if (v > HIST_MAX) v = HIST_MAX;
    int bucket = 63 - __builtin_clzll(v | (2 * HIST_HALF - 1)) - HIST_HALF_BITS;
    g->hist[(bucket << HIST_HALF_BITS) + (v >> bucket)]++;
}

/* `since`: when the message was due, or sent. A closed loop counts what arrives in the measured time. An open loop
 * counts what was due in it, so that an answer that comes late counts with all its lateness. */
static inline void hist_record_since(generator *g, int64_t since) {
    int64_t counted_at = g->interval > 0 ? since : g->now;
    if (counted_at >= g->from && (counted_at < g->until || g->until_drained)) hist_record(g, g->now - since);
}

struct hist_summary { uint64_t count, p50, p99, max; };
int hist_interval(generator *g, struct hist_summary *summary);

#endif
