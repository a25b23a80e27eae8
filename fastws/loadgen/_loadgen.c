/* The load generator's engine: one epoll loop in one thread drives many WebSocket clients, without the GIL and
 * without an object per message.
 *
 *  1  what a run is made of        5  one socket: plain or TLS     9  the upgrade
 *  2  time                         6  sending                     10  the scenarios
 *  3  the histogram                7  what a message says         11  the loop
 *  4  libraries found at run time  8  frames                      12  the Python type
 *
 * Python (worker.py) makes the frame and the request heads, calls `open`, `run` and `close` in one thread, and may
 * read `counters`, `interval` and `errors` from another at any time: they only load aligned 64-bit words that the
 * loop stores, so they can be a moment old but never torn. Nothing here calls Python without the GIL.
 *
 * It is a measuring instrument, not a client for strangers' data: text is not checked for UTF-8, and one mask
 * serves a whole run, because the content is its own. (RFC 6455, section 5.3 asks for a fresh mask so that an
 * attacker cannot choose the bytes on the wire; with one mask a frame of 1 MiB is made once, not at each send.)
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifndef __linux__
#error "the load generator needs epoll"
#endif

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ==== 1. What a run is made of ============================================================================ */

enum scenario { ECHO, FANOUT, ROOM, CONNECT, IDLE };

/* A client's life, in this order. CLOSING: our close frame is out (or waits behind data). */
enum state { UNUSED, CONNECTING, TLS_HANDSHAKE, UPGRADING, OPEN, CLOSING };

/* Why a client was lost or never came; `detail` is an errno, a status or a close code. errors.py has the words. */
enum kind { E_CONNECT, E_TIMEOUT, E_TLS, E_REFUSED, E_UPGRADE, E_CLOSED, E_EOF, E_SOCKET, E_PROTOCOL, E_DEFLATE,
            E_STALLED };

enum { CARRY = 160, HEAD_MAX = 16384, BUFFER = 1 << 18, BATCH = 1 << 16, KINDS = 64, NOTE = 200, STAMP = 8 };

static const int64_t MS = 1000000, S = 1000000000;

/* A message's text starts with this byte and eight characters of the alphabet: the moment it was due. */
static const char MARK = '~';
static const char ALPHABET[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
static uint8_t digit_value[256]; /* 255: not of the alphabet */

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;

typedef struct { /* zlib's z_stream: its layout is part of its ABI (zlib.h) */
    const uint8_t *next_in;
    unsigned avail_in;
    unsigned long total_in;
    uint8_t *next_out;
    unsigned avail_out;
    unsigned long total_out;
    const char *msg;
    void *state, *zalloc, *zfree, *opaque;
    int data_type;
    unsigned long adler, reserved;
} z_stream;

typedef struct {
    int fd;
    uint8_t state, armed;          /* armed: EPOLLOUT is asked for */
    uint8_t dirty;                 /* is in g->dirty: has something to send at the end of this turn */
    uint8_t fin, in_message;       /* of the frame whose payload is arriving; a message has begun */
    uint8_t compressed, inflates;  /* this message has RSV1; this client looks inside such messages */
    uint8_t fresh_window;          /* server_no_context_takeover was agreed */
    uint8_t digits;                /* of the stamp being read: 0 none, 1 mark seen, 2.. digits, STAMP + 1 done */
    uint8_t carry_len, ctl_len;
    uint8_t carry[CARRY];          /* a frame header, or a control frame, that is not complete */
    uint8_t ctl[136];              /* the newest pong, or our close frame, that waits for a frame's end */
    uint64_t left;                 /* payload bytes of the current frame still to come */
    uint64_t length;               /* of the current message, or part between separators */
    uint64_t stamp;
    int64_t since;                 /* connecting: its start, or when it was due; closing: the close frame */
    const uint8_t *out;            /* what is being sent: in g->frames, or in obuf */
    size_t out_len, obuf_size;
    uint8_t *obuf;
    uint64_t want;                 /* messages asked for and not yet in `out` */
    uint64_t asked, built, heard;  /* messages asked for, put into `out`, received (of those that count) */
    int64_t *asked_at;             /* closed-loop echo: a ring of `depth` moments */
    uint8_t *head;                 /* the response head while it arrives */
    size_t head_len;
    SSL *ssl;
    z_stream *z;
    uint32_t handshake;            /* which of the prepared requests it uses */
} client;

struct counts { /* all uint64_t: the Python side copies them as an array */
    uint64_t asked, sent, received, other, bytes_in, rounds, opened, failed, lost, stalls, late_ns, pings;
};
enum { COUNTS = sizeof(struct counts) / sizeof(uint64_t) };
static const char *const COUNT_NAMES[COUNTS] = {"asked",  "sent", "received", "other",  "bytes_in", "rounds",
                                                "opened", "failed", "lost",   "stalls", "late_ns",  "pings"};

struct mark { /* what the run had done, and what this thread had cost, at one moment */
    struct counts counts;
    int64_t wall, cpu, waited;
};

enum { HIST_HALF_BITS = 10, HIST_HALF = 1 << HIST_HALF_BITS, HIST_LEN = 33 * HIST_HALF };
static const uint64_t HIST_MAX = 3600ull * 1000000000ull;

typedef struct {
    PyObject_HEAD
    /* settings */
    enum scenario scenario;
    struct sockaddr_storage address;
    socklen_t address_len;
    uint32_t n, speakers, depth, window, handshakes_len; /* speakers: the first of the clients; 0: only listen */
    struct { uint8_t *head; size_t head_len; char accept[29]; } *handshakes;
    uint8_t *frames;               /* `batch` copies of the frame, masked, ready to send */
    size_t frame_len, batch;
    Py_ssize_t stamp_at;           /* of the digits in a frame; -1: messages carry no stamp */
    uint8_t stamp_mask[STAMP];
    int64_t size;                  /* of a message that counts; -1: any */
    int separator;                 /* between merged messages; -1: none */
    double interval, phase;        /* ns between messages of an open loop; 0: closed loop */
    int deflate, speaks;           /* permessage-deflate is asked for; idle clients say one message */
    int to_others;                 /* the server does not send a message back to who said it */
    int tls, verify, server_is_ip;
    char *server_name;
    SSL_CTX *ctx;
    /* the loop */
    int epfd, busy, content, no_pwait2;
    int stop;                      /* set by Python, at any time */
    int whole;                     /* the last answer ends the measured time, not `until`: no work without its time */
    int64_t now, base, begin, from, until, limit; /* limit: of TCP, TLS and upgrade together */
    client *clients, **dirty;
    size_t dirty_len;
    uint32_t alive, opening, next_open, next_speaker;
    uint64_t due;                  /* messages (or rounds, or connections) of the schedule begun so far */
    uint8_t *buf, *inflated;
    /* closed-loop fan-out: complete[m % ring] clients have heard message m */
    uint32_t *complete, ring, recount;
    uint64_t asked, completed;
    /* a room's round */
    int64_t round_at, progress_at, forgiven;
    uint32_t round_size, round_heard;
    int in_round;
    /* results */
    struct counts counts;
    struct mark mark[2]; /* at `from` and at `until`, or when the run was stopped */
    int marks;
    struct { uint32_t kind, detail; uint64_t count; } errors[KINDS];
    char note[NOTE];               /* the first refusal or TLS failure, in the server's words */
    uint64_t *hist, *hist_seen;
} generator;

/* ==== 2. Time ============================================================================================= */

static int64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * S + t.tv_nsec;
}

static int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* Nanoseconds that this thread was ready to run and had no core (the second word of schedstat). */
static int64_t waited_ns(void) {
    char text[96] = {0};
    long long ran = 0, waited = 0;
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    if (read(fd, text, sizeof text - 1) <= 0 || sscanf(text, "%lld %lld", &ran, &waited) != 2) waited = 0;
    close(fd);
    return waited;
}

static void take_mark(generator *g) {
    struct mark *m = &g->mark[g->marks++];
    m->counts = g->counts;
    m->wall = now_ns();
    m->cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    m->waited = waited_ns();
}

/* When message k of the schedule is due. */
static int64_t due_at(const generator *g, uint64_t k) {
    return g->begin + (int64_t)(((double)k + g->phase) * g->interval);
}

/* ==== 3. The histogram: HdrHistogram's own layout, 1 ns to 1 h with three significant digits ============= */

static void record(generator *g, int64_t ns) {
    uint64_t v = ns < 0 ? 0 : (uint64_t)ns;
    if (v > HIST_MAX) v = HIST_MAX;
    int bucket = 63 - __builtin_clzll(v | (2 * HIST_HALF - 1)) - HIST_HALF_BITS;
    g->hist[(bucket << HIST_HALF_BITS) + (v >> bucket)]++;
}

/* The highest value that falls into a slot, as HdrHistogram reports percentiles. */
static uint64_t slot_value(int slot) {
    int bucket = (slot >> HIST_HALF_BITS) - 1;
    if (bucket < 0) return slot;
    uint64_t sub = (slot & (HIST_HALF - 1)) + HIST_HALF;
    return ((sub + 1) << bucket) - 1;
}

/* `since`: when the message was due, or sent. A closed loop counts what arrives in the measured time, an open loop
 * what was due in it: an answer that comes late counts with all its lateness. */
static void record_since(generator *g, int64_t since) {
    int64_t in_window = g->interval > 0 ? since : g->now;
    if (in_window >= g->from && (in_window < g->until || g->whole)) record(g, g->now - since);
}

/* ==== 4. Libraries found at run time ======================================================================
 * wss:// needs libssl, looking inside compressed messages needs libz. Both are on every machine where Python's own
 * ssl and zlib are; neither is linked, so that the module builds without their headers and a wheel carries no copy.
 */
static struct {
    SSL_CTX *(*SSL_CTX_new)(const void *);
    void (*SSL_CTX_free)(SSL_CTX *);
    const void *(*TLS_client_method)(void);
    int (*SSL_CTX_set_default_verify_paths)(SSL_CTX *);
    void (*SSL_CTX_set_verify)(SSL_CTX *, int, void *);
    long (*SSL_CTX_ctrl)(SSL_CTX *, int, long, void *);
    SSL *(*SSL_new)(SSL_CTX *);
    void (*SSL_free)(SSL *);
    int (*SSL_set_fd)(SSL *, int);
    long (*SSL_ctrl)(SSL *, int, long, void *);
    int (*SSL_set1_host)(SSL *, const char *);
    void *(*SSL_get0_param)(SSL *);
    int (*X509_VERIFY_PARAM_set1_ip_asc)(void *, const char *);
    int (*SSL_connect)(SSL *);
    int (*SSL_read)(SSL *, void *, int);
    int (*SSL_write)(SSL *, const void *, int);
    int (*SSL_shutdown)(SSL *);
    int (*SSL_get_error)(const SSL *, int);
    long (*SSL_get_verify_result)(const SSL *);
    const char *(*X509_verify_cert_error_string)(long);
    unsigned long (*ERR_get_error)(void);
    void (*ERR_clear_error)(void);
    const char *(*ERR_reason_error_string)(unsigned long);
} ssl;

static struct {
    int (*inflateInit2_)(z_stream *, int, const char *, int);
    int (*inflate)(z_stream *, int);
    int (*inflateReset)(z_stream *);
    int (*inflateEnd)(z_stream *);
    const char *(*zlibVersion)(void);
} zlib;

enum { SSL_ERROR_SSL = 1, SSL_ERROR_WANT_READ = 2, SSL_ERROR_WANT_WRITE = 3, SSL_ERROR_SYSCALL = 5,
       SSL_ERROR_ZERO_RETURN = 6, SSL_CTRL_MODE = 33, SSL_CTRL_SET_TLSEXT_HOSTNAME = 55, SSL_VERIFY_PEER = 1,
       SSL_MODE_PARTIAL_WRITE_MOVING_BUFFER = 3, Z_SYNC_FLUSH = 2, Z_OK = 0, Z_STREAM_END = 1, Z_BUF_ERROR = -5 };

/* Fills `table` from the first of `libraries` that has every one of `names`. Needs the GIL; sets an exception. */
static int load_library(const char *const *libraries, const char *const *names, void **table, const char *what) {
    if (table[0]) return 0;
    for (; *libraries; libraries++) {
        void *handle = dlopen(*libraries, RTLD_NOW | RTLD_LOCAL);
        size_t i = 0;
        if (!handle) continue;
        for (; names[i]; i++) {
            table[i] = dlsym(handle, names[i]);
            if (!table[i]) break;
        }
        if (!names[i]) return 0;
        table[0] = NULL;
        dlclose(handle);
    }
    PyErr_Format(PyExc_OSError, "%s", what);
    return -1;
}

static int load_ssl(void) {
    static const char *const libraries[] = {"libssl.so.3", "libssl.so.1.1", NULL};
    static const char *const names[] = {
        "SSL_CTX_new", "SSL_CTX_free", "TLS_client_method", "SSL_CTX_set_default_verify_paths",
        "SSL_CTX_set_verify", "SSL_CTX_ctrl", "SSL_new", "SSL_free", "SSL_set_fd", "SSL_ctrl", "SSL_set1_host",
        "SSL_get0_param", "X509_VERIFY_PARAM_set1_ip_asc", "SSL_connect", "SSL_read", "SSL_write", "SSL_shutdown",
        "SSL_get_error", "SSL_get_verify_result", "X509_verify_cert_error_string", "ERR_get_error",
        "ERR_clear_error", "ERR_reason_error_string", NULL};
    return load_library(libraries, names, (void **)&ssl, "wss:// needs OpenSSL's libssl.so.3 (or .1.1), not found");
}

static int load_zlib(void) {
    static const char *const libraries[] = {"libz.so.1", NULL};
    static const char *const names[] = {"inflateInit2_", "inflate", "inflateReset", "inflateEnd", "zlibVersion", NULL};
    return load_library(libraries, names, (void **)&zlib, "--deflate needs libz.so.1, not found");
}

/* ==== 5. One socket: plain or TLS ========================================================================= */

static void count_error(generator *g, uint32_t kind, uint32_t detail) {
    for (int i = 0; i < KINDS; i++) {
        if (g->errors[i].count && (g->errors[i].kind != kind || g->errors[i].detail != detail) && i < KINDS - 1)
            continue;
        g->errors[i].kind = kind;
        g->errors[i].detail = detail;
        g->errors[i].count++;
        return;
    }
}

static void note(generator *g, const char *text, size_t n) {
    if (g->note[0]) return;
    if (n >= NOTE) n = NOTE - 1;
    memcpy(g->note, text, n);
    g->note[n] = 0;
}

static void watch(generator *g, client *c, int writes) {
    if (c->armed == writes) return;
    c->armed = writes;
    struct epoll_event e = {.events = EPOLLIN | (writes ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(g->epfd, EPOLL_CTL_MOD, c->fd, &e);
}

/* The client's slot is empty after this. `reset`: end TCP with RST, which leaves no TIME_WAIT on this side (28,000
 * of them and one address has no port left for a minute). */
static void release(generator *g, client *c, int reset) {
    if (c->state == OPEN || c->state == CLOSING) g->alive--;
    if (c->state >= CONNECTING && c->state <= UPGRADING) g->opening--;
    if (c->state == OPEN) g->recount = 1;
    if (c->ssl) {
        if (c->state >= OPEN) ssl.SSL_shutdown(c->ssl);
        ssl.SSL_free(c->ssl);
        ssl.ERR_clear_error();
    }
    if (c->z) zlib.inflateEnd(c->z);
    if (reset) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    if (c->fd >= 0) close(c->fd);
    free(c->z);
    free(c->head);
    free(c->obuf);
    int64_t *asked_at = c->asked_at;
    uint8_t dirty = c->dirty;
    uint64_t asked = c->asked, heard = c->heard;
    memset(c, 0, sizeof *c);
    c->fd = -1;
    c->asked_at = asked_at;
    c->dirty = dirty;
    c->asked = asked;
    c->heard = heard;
}

/* Always -1: "this client is gone", for the caller to hand on. While we close, every end is a good end. */
static int fail(generator *g, client *c, uint32_t kind, uint32_t detail) {
    if (c->state == OPEN) g->counts.lost++;
    else if (c->state != CLOSING) g->counts.failed++;
    if (c->state != CLOSING) count_error(g, kind, detail);
    int peer_ends_tcp = kind == E_EOF || kind == E_CLOSED;
    release(g, c, !peer_ends_tcp);
    return -1;
}

static int fail_tls(generator *g, client *c, int result) {
    int error = ssl.SSL_get_error(c->ssl, result), system = errno;
    unsigned long code = ssl.ERR_get_error();
    long verdict = ssl.SSL_get_verify_result(c->ssl);
    const char *why = g->verify && verdict ? ssl.X509_verify_cert_error_string(verdict)
                      : code ? ssl.ERR_reason_error_string(code) : NULL;
    if (why && c->state == TLS_HANDSHAKE) note(g, why, strlen(why));
    ssl.ERR_clear_error();
    if (c->state != TLS_HANDSHAKE) {
        if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SYSCALL && !system)) return fail(g, c, E_EOF, 0);
        if (error == SSL_ERROR_SYSCALL) return fail(g, c, E_SOCKET, system);
    }
    return fail(g, c, E_TLS, 0);
}

/* Bytes moved; 0: not now; -1: the client is gone. */
static ssize_t io_send(generator *g, client *c, const uint8_t *p, size_t n) {
    if (!c->ssl) {
        ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) return sent;
        return errno == EAGAIN || errno == EINTR ? 0 : fail(g, c, E_SOCKET, errno);
    }
    errno = 0;
    int sent = ssl.SSL_write(c->ssl, p, n > 1 << 30 ? 1 << 30 : (int)n);
    if (sent > 0) return sent;
    int error = ssl.SSL_get_error(c->ssl, sent);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : fail_tls(g, c, sent);
}

static ssize_t io_recv(generator *g, client *c, uint8_t *p, size_t n) {
    if (!c->ssl) {
        ssize_t got = recv(c->fd, p, n, MSG_DONTWAIT);
        if (got > 0) return got;
        if (got == 0) return fail(g, c, E_EOF, 0);
        return errno == EAGAIN || errno == EINTR ? 0 : fail(g, c, E_SOCKET, errno);
    }
    errno = 0;
    int got = ssl.SSL_read(c->ssl, p, (int)n);
    if (got > 0) return got;
    int error = ssl.SSL_get_error(c->ssl, got);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : fail_tls(g, c, got);
}

static int start_tls(generator *g, client *c) {
    c->state = TLS_HANDSHAKE;
    c->ssl = ssl.SSL_new(g->ctx);
    if (!c->ssl || !ssl.SSL_set_fd(c->ssl, c->fd)) return fail(g, c, E_TLS, 0);
    if (!g->server_is_ip) ssl.SSL_ctrl(c->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0, g->server_name);
    if (g->verify) {
        int named = g->server_is_ip ? ssl.X509_VERIFY_PARAM_set1_ip_asc(ssl.SSL_get0_param(c->ssl), g->server_name)
                                    : ssl.SSL_set1_host(c->ssl, g->server_name);
        if (!named) return fail(g, c, E_TLS, 0);
    }
    return 0;
}

/* ==== 6. Sending ========================================================================================== */

/* To be flushed when the events of this turn are done. */
static void mark_dirty(generator *g, client *c) {
    if (c->dirty) return;
    c->dirty = 1;
    g->dirty[g->dirty_len++] = c;
}

static int reserve(client *c, size_t n) {
    if (c->obuf_size >= n) return 0;
    uint8_t *grown = realloc(c->obuf, n);
    if (!grown) return -1;
    c->obuf = grown;
    c->obuf_size = n;
    return 0;
}

/* The moment at which this speaker's message k was due; in a closed loop, now. */
static int64_t message_at(const generator *g, const client *c, uint64_t k) {
    return g->interval > 0 ? due_at(g, (uint64_t)(c - g->clients) + k * g->speakers) : g->now;
}

static void put_stamp(const generator *g, uint8_t *frame, int64_t at) {
    uint64_t v = (uint64_t)(at - g->base);
    for (int i = 0; i < STAMP; i++)
        frame[g->stamp_at + i] = (uint8_t)ALPHABET[v >> (6 * (STAMP - 1 - i)) & 63] ^ g->stamp_mask[i];
}

/* Makes `out` the next thing to send, at a frame's boundary. 0: nothing to send. */
static int fill(generator *g, client *c) {
    if (c->ctl_len) {
        if (reserve(c, BATCH) < 0) return 0;
        memcpy(c->obuf, c->ctl, c->ctl_len);
        c->out = c->obuf;
        c->out_len = c->ctl_len;
        c->ctl_len = 0;
        return 1;
    }
    if (!c->want || c->state != OPEN) return 0;
    size_t n = c->want < g->batch ? c->want : g->batch;
    c->out = g->frames;
    c->out_len = n * g->frame_len;
    if (g->stamp_at >= 0) {
        if (reserve(c, c->out_len) < 0) return 0;
        memcpy(c->obuf, g->frames, c->out_len);
        for (size_t i = 0; i < n; i++) put_stamp(g, c->obuf + i * g->frame_len, message_at(g, c, c->built + i));
        c->out = c->obuf;
    }
    c->want -= n;
    c->built += n;
    g->counts.sent += n;
    return 1;
}

static int flush(generator *g, client *c) {
    while (c->out_len || fill(g, c)) {
        ssize_t n = io_send(g, c, c->out, c->out_len);
        if (n < 0) return -1;
        if (n == 0) return watch(g, c, 1), 0;
        c->out += n;
        c->out_len -= n;
    }
    watch(g, c, 0);
    return 0;
}

/* A control frame, sent at the next frame's boundary. Only the newest pong waits; a close replaces it. */
static void put_control(client *c, uint8_t opcode, const uint8_t *payload, uint8_t n) {
    static const uint8_t mask[4] = {0x5a, 0xc3, 0x96, 0x3c};
    c->ctl[0] = 0x80 | opcode;
    c->ctl[1] = 0x80 | n;
    memcpy(c->ctl + 2, mask, 4);
    for (uint8_t i = 0; i < n; i++) c->ctl[6 + i] = payload[i] ^ mask[i & 3];
    c->ctl_len = 6 + n;
}

static void begin_close(generator *g, client *c) {
    static const uint8_t normal[2] = {1000 >> 8, 1000 & 255};
    put_control(c, 8, normal, 2);
    c->state = CLOSING;
    c->want = 0;
    c->since = g->now;
    g->recount = 1;
    mark_dirty(g, c);
}

static void ask(generator *g, client *c, int64_t at) {
    if (c->asked_at) c->asked_at[c->asked % g->depth] = at;
    c->asked++;
    c->want++;
    g->counts.asked++;
}

/* ==== 7. What a message says: merged parts, stamps, compressed content ==================================== */

static void hears_next(generator *g, client *c) {
    if (c->heard >= g->asked) return;
    g->complete[c->heard % g->ring]++;
    c->heard++;
}

static void heard_fanout(generator *g, client *c, int64_t stamp) {
    g->counts.received++;
    if (stamp >= 0) record_since(g, stamp);
    if (g->interval == 0 && (stamp < 0 || stamp >= g->forgiven)) hears_next(g, c);
}

static void heard_echo(generator *g, client *c) {
    if (c->heard >= c->asked) {
        g->counts.other++;
        return;
    }
    g->counts.received++;
    record_since(g, c->asked_at ? c->asked_at[c->heard % g->depth] : message_at(g, c, c->heard));
    c->heard++;
    if (g->interval == 0 && g->now < g->until) ask(g, c, g->now);
}

static void heard_room(generator *g, client *c) {
    g->counts.received++;
    if (++c->heard != g->round_size || !g->in_round) return;
    g->round_heard++;
    record_since(g, g->round_at);
}

/* A message, or a part between separators, is complete. `length` -1: it was compressed, and nobody looked. */
static void heard(generator *g, client *c, int64_t length, int64_t stamp) {
    int counts = g->stamp_at >= 0 ? stamp >= 0 || length < 0 : g->size < 0 || length < 0 || length == g->size;
    g->progress_at = g->now;
    if (!counts) g->counts.other++;
    else if (g->scenario == FANOUT) heard_fanout(g, c, stamp);
    else if (g->scenario == ECHO) heard_echo(g, c);
    else if (g->scenario == ROOM) heard_room(g, c);
    else g->counts.received++;
}

/* A stamp that this run can have made, or -1. */
static int64_t stamp_time(const generator *g, uint64_t v) {
    int64_t at = g->base + (int64_t)v;
    return at >= g->base && at <= g->now + S ? at : -1;
}

/* Looks for the mark and its digits anywhere in a part, however it was cut: servers may put a name before it. */
static void scan_stamp(client *c, const uint8_t *p, const uint8_t *end) {
    while (p < end && c->digits <= STAMP) {
        if (c->digits == 0) {
            p = memchr(p, MARK, end - p);
            if (!p) return;
            c->digits = 1;
            c->stamp = 0;
            p++;
        } else if (digit_value[*p] < 64) {
            c->stamp = c->stamp << 6 | digit_value[*p++];
            c->digits++;
        } else {
            c->digits = 0;
        }
    }
}

static void part_ends(generator *g, client *c) {
    int64_t stamp = c->digits > STAMP ? stamp_time(g, c->stamp) : -1;
    int64_t length = (int64_t)c->length;
    c->length = 0;
    c->digits = 0;
    heard(g, c, length, stamp);
}

static void part_bytes(generator *g, client *c, const uint8_t *p, const uint8_t *end) {
    c->length += end - p;
    if (g->stamp_at >= 0 && c->digits <= STAMP) scan_stamp(c, p, end);
}

static void text_bytes(generator *g, client *c, const uint8_t *p, const uint8_t *end) {
    if (g->separator >= 0) {
        const uint8_t *cut;
        while ((cut = memchr(p, g->separator, end - p))) {
            part_bytes(g, c, p, cut);
            part_ends(g, c);
            p = cut + 1;
        }
    }
    part_bytes(g, c, p, end);
}

/* RFC 7692, section 7.2.2. -1: not deflate. */
static int inflate_bytes(generator *g, client *c, const uint8_t *p, size_t n) {
    z_stream *z = c->z;
    z->next_in = p;
    z->avail_in = (unsigned)n;
    for (;;) {
        z->next_out = g->inflated;
        z->avail_out = BUFFER;
        int result = zlib.inflate(z, Z_SYNC_FLUSH);
        text_bytes(g, c, g->inflated, z->next_out);
        if (result == Z_STREAM_END) zlib.inflateReset(z);
        else if (result == Z_BUF_ERROR) return 0;
        else if (result != Z_OK) return -1;
        if (!z->avail_in && z->avail_out) return 0;
    }
}

static int message_begins(client *c, int compressed) {
    c->in_message = 1;
    c->compressed = compressed;
    c->length = 0;
    c->digits = 0;
    if (!compressed || !c->inflates) return 0;
    if (!c->z) {
        c->z = calloc(1, sizeof *c->z);
        if (!c->z || zlib.inflateInit2_(c->z, -15, zlib.zlibVersion(), sizeof *c->z) != Z_OK) return -1;
    } else if (c->fresh_window) {
        zlib.inflateReset(c->z);
    }
    return 0;
}

static int message_bytes(generator *g, client *c, const uint8_t *p, size_t n) {
    if (c->compressed) return c->inflates ? inflate_bytes(g, c, p, n) : 0;
    if (g->content) text_bytes(g, c, p, p + n);
    else c->length += n;
    return 0;
}

static int message_ends(generator *g, client *c) {
    static const uint8_t tail[4] = {0, 0, 0xff, 0xff};
    c->in_message = 0;
    if (c->compressed && !c->inflates) {
        heard(g, c, -1, -1);
        return 0;
    }
    if (c->compressed && inflate_bytes(g, c, tail, 4) < 0) return -1;
    part_ends(g, c);
    return 0;
}

/* The usual case in one step: an uncompressed message, all of it here. */
static void whole_message(generator *g, client *c, const uint8_t *p, size_t n) {
    if (!g->content) {
        heard(g, c, (int64_t)n, -1);
        return;
    }
    if (g->separator < 0 && n > STAMP && p[0] == MARK) {
        uint64_t v = 0;
        uint8_t bad = 0;
        for (int i = 1; i <= STAMP; i++) {
            bad |= digit_value[p[i]];
            v = v << 6 | (digit_value[p[i]] & 63);
        }
        if (bad < 64) {
            heard(g, c, (int64_t)n, stamp_time(g, v));
            return;
        }
    }
    c->length = 0;
    c->digits = 0;
    text_bytes(g, c, p, p + n);
    part_ends(g, c);
}

/* ==== 8. Frames: RFC 6455, section 5.2, of a server: never masked ========================================= */

static int on_control(generator *g, client *c, uint8_t opcode, const uint8_t *payload, uint8_t n) {
    if (opcode == 9) {
        g->counts.pings++;
        if (c->state == OPEN) {
            put_control(c, 10, payload, n);
            mark_dirty(g, c);
        }
    }
    if (opcode != 8) return 0;
    uint32_t code = n >= 2 ? payload[0] << 8 | payload[1] : 1005;
    if (c->state == OPEN) { /* its close comes first: answer it, and call it what it is */
        if (!c->out_len) {
            put_control(c, 8, payload, n >= 2 ? 2 : 0);
            if (flush(g, c) < 0) return -1;
        }
        return fail(g, c, E_CLOSED, code);
    }
    if (g->scenario != CONNECT) return 0; /* the server ends TCP (RFC 6455, section 7.1.1) */
    release(g, c, 1);
    return -1;
}

/* Takes all of p..end, keeping in `carry` a header or control frame that is not complete. -1: the client is gone. */
static int take(generator *g, client *c, const uint8_t *p, const uint8_t *end) {
    while (p < end) {
        /* 1. the rest of a frame's payload */
        if (c->left) {
            size_t n = (uint64_t)(end - p) < c->left ? (size_t)(end - p) : (size_t)c->left;
            if (message_bytes(g, c, p, n) < 0) return fail(g, c, E_PROTOCOL, 1007);
            p += n;
            c->left -= n;
            if (c->left) return 0;
            if (c->fin && message_ends(g, c) < 0) return fail(g, c, E_PROTOCOL, 1007);
            continue;
        }
        /* 2. a small whole message, which is nearly every frame there is */
        size_t here = (size_t)(end - p);
        if (here >= 2 && p[1] < 126 && here >= 2u + p[1] && (p[0] == 0x81 || p[0] == 0x82) && !c->in_message) {
            whole_message(g, c, p + 2, p[1]);
            p += 2 + p[1];
            continue;
        }
        /* 3. the header */
        size_t head = here < 2 || p[1] < 126 ? 2 : p[1] == 126 ? 4 : 10;
        int control = p[0] & 8, opcode = p[0] & 15;
        if (here >= 2 && p[1] & 0x80) return fail(g, c, E_PROTOCOL, 1002);
        if (control && here >= 2) {
            if (p[1] > 125) return fail(g, c, E_PROTOCOL, 1002);
            head += p[1];
        }
        if (here < head) {
            memcpy(c->carry, p, here);
            c->carry_len = (uint8_t)here;
            return 0;
        }
        if (control) {
            if (on_control(g, c, opcode, p + 2, p[1]) < 0) return -1;
            p += head;
            continue;
        }
        uint64_t length = p[1];
        if (head == 4) length = (uint64_t)p[2] << 8 | p[3];
        if (head == 10) {
            memcpy(&length, p + 2, 8);
            length = __builtin_bswap64(length);
        }
        /* 4. does it belong here? */
        int rsv1 = p[0] & 0x40;
        if (p[0] & 0x30 || opcode > 2 || (opcode == 0) != c->in_message || (rsv1 && (!g->deflate || opcode == 0)))
            return fail(g, c, E_PROTOCOL, 1002);
        if (opcode && message_begins(c, rsv1 != 0) < 0) return fail(g, c, E_PROTOCOL, 1011);
        c->fin = p[0] >> 7;
        c->left = length;
        p += head;
        if (!length && c->fin && message_ends(g, c) < 0) return fail(g, c, E_PROTOCOL, 1007);
    }
    return 0;
}

/* ==== 9. The upgrade: RFC 6455, section 4.1 =============================================================== */

static int start_client(generator *g, client *c, int64_t since) {
    c->fd = socket(g->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->state = CONNECTING;
    c->since = since;
    g->opening++;
    if (c->fd < 0) return fail(g, c, E_CONNECT, errno);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(c->fd, (struct sockaddr *)&g->address, g->address_len) && errno != EINPROGRESS)
        return fail(g, c, E_CONNECT, errno);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    c->armed = 1;
    if (epoll_ctl(g->epfd, EPOLL_CTL_ADD, c->fd, &e)) return fail(g, c, E_CONNECT, errno);
    return 0;
}

static int send_request(generator *g, client *c) {
    c->state = UPGRADING;
    c->handshake = (uint32_t)((c - g->clients) % g->handshakes_len);
    c->out = g->handshakes[c->handshake].head;
    c->out_len = g->handshakes[c->handshake].head_len;
    return flush(g, c);
}

static int connected(generator *g, client *c) {
    int error = 0;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
    if (error) return fail(g, c, E_CONNECT, error);
    return g->tls ? start_tls(g, c) : send_request(g, c);
}

static int tls_handshake(generator *g, client *c) {
    errno = 0;
    int result = ssl.SSL_connect(c->ssl);
    if (result == 1) return send_request(g, c);
    int error = ssl.SSL_get_error(c->ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return fail_tls(g, c, result);
    watch(g, c, error == SSL_ERROR_WANT_WRITE);
    return 0;
}

/* The value of a header in a head that ends with an empty line, without outer spaces; NULL: not there. */
static const char *field(const char *head, const char *name, size_t *len) {
    size_t n = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, n) || line[2 + n] != ':') continue;
        const char *value = line + 3 + n;
        value += strspn(value, " \t");
        *len = strcspn(value, "\r");
        while (*len && (value[*len - 1] == ' ' || value[*len - 1] == '\t')) --*len;
        return value;
    }
    return NULL;
}

static int contains(const char *value, size_t n, const char *word) {
    size_t w = strlen(word);
    for (; value && n >= w; value++, n--)
        if (!strncasecmp(value, word, w)) return 1;
    return 0;
}

static void client_opened(generator *g, client *c) {
    c->state = OPEN;
    c->inflates = g->deflate && (g->separator >= 0 || (g->content && ((c - g->clients) % 16 == 0 || g->n < 64)));
    g->opening--;
    g->alive++;
    g->counts.opened++;
    if (g->scenario == CONNECT) {
        record_since(g, c->since);
        begin_close(g, c);
    } else if (g->scenario == IDLE) {
        record(g, g->now - c->since);
        if (g->speaks) {
            ask(g, c, g->now);
            mark_dirty(g, c);
        }
    }
}

/* `head` is a whole response head and a NUL. */
static int check_response(generator *g, client *c, const char *head) {
    int status = 0;
    size_t n = 0;
    if (sscanf(head, "HTTP/1.%*1d %3d", &status) != 1) return fail(g, c, E_UPGRADE, 0);
    if (status != 101) {
        note(g, head, strcspn(head, "\r\n"));
        return fail(g, c, E_REFUSED, (uint32_t)status);
    }
    const char *value = field(head, "Upgrade", &n);
    if (!contains(value, n, "websocket")) return fail(g, c, E_UPGRADE, 1);
    value = field(head, "Connection", &n);
    if (!contains(value, n, "upgrade")) return fail(g, c, E_UPGRADE, 2);
    value = field(head, "Sec-WebSocket-Accept", &n);
    if (!value || n != 28 || memcmp(value, g->handshakes[c->handshake].accept, 28)) return fail(g, c, E_UPGRADE, 3);
    value = field(head, "Sec-WebSocket-Extensions", &n);
    if (value && !g->deflate) return fail(g, c, E_UPGRADE, 4);
    if (g->deflate && !contains(value, n, "permessage-deflate")) return fail(g, c, E_DEFLATE, 0);
    c->fresh_window = contains(value, n, "server_no_context_takeover");
    client_opened(g, c);
    return 0;
}

/* What follows the head is frames already. */
static int take_response(generator *g, client *c, const uint8_t *p, size_t n) {
    if (!c->head && !(c->head = malloc(HEAD_MAX + 1))) return fail(g, c, E_UPGRADE, 0);
    size_t before = c->head_len, fits = HEAD_MAX - before < n ? HEAD_MAX - before : n;
    memcpy(c->head + before, p, fits);
    c->head_len += fits;
    uint8_t *end = memmem(c->head, c->head_len, "\r\n\r\n", 4);
    if (!end) return c->head_len == HEAD_MAX ? fail(g, c, E_UPGRADE, 5) : 0;
    size_t used = (size_t)(end + 4 - c->head) - before;
    end[4] = 0;
    if (check_response(g, c, (char *)c->head) < 0) return -1;
    free(c->head);
    c->head = NULL;
    return take(g, c, p + used, p + n);
}

static int readable(generator *g, client *c) {
    for (int i = 0; i < 16; i++) { /* a server that never pauses shall not starve the others */
        uint8_t *p = g->buf + c->carry_len;
        memcpy(g->buf, c->carry, c->carry_len);
        ssize_t n = io_recv(g, c, p, BUFFER);
        if (n < 0) return -1;
        if (n == 0) break;
        g->now = now_ns();
        g->counts.bytes_in += n;
        c->carry_len = 0;
        int gone = c->state == UPGRADING ? take_response(g, c, p, n) : take(g, c, g->buf, p + n);
        if (gone < 0) return -1;
        if (!c->ssl && n < BUFFER) break;
        if (c->ssl && i == 15) i = 14; /* what OpenSSL holds already, epoll will not tell again */
    }
    return c->want || c->out_len || c->ctl_len ? flush(g, c) : 0;
}

/* ==== 10. The scenarios: who speaks when ================================================================== */

static int sending(const generator *g) { return g->now >= g->begin && g->now < g->until; }

/* Messages, rounds or connections that the schedule has made due by now. */
static uint64_t due_by_now(const generator *g) {
    int64_t end = g->now < g->until ? g->now : g->until - 1;
    double passed = (double)(end - g->begin) / g->interval - g->phase;
    return passed < 0 ? 0 : (uint64_t)passed + 1;
}

static void note_lateness(generator *g, int64_t due) {
    if (g->now - due > (int64_t)g->counts.late_ns) g->counts.late_ns = g->now - due;
}

/* An open loop: every speaker in its turn, as the schedule says. A message due on a lost client stays unsent. */
static void step_schedule(generator *g) {
    uint64_t due = due_by_now(g);
    if (due > g->due && g->now < g->until) note_lateness(g, due_at(g, g->due));
    for (; g->due < due; g->due++) {
        client *c = g->clients + g->due % g->speakers;
        ask(g, c, 0);
        if (c->state == OPEN) mark_dirty(g, c);
    }
}

static void begin_echo(generator *g) {
    for (uint32_t i = 0; i < g->n; i++) {
        if (g->clients[i].state != OPEN) continue;
        for (uint32_t d = 0; d < g->depth; d++) ask(g, g->clients + i, g->now);
        mark_dirty(g, g->clients + i);
    }
}

/* After a loss: count anew who has heard what. */
static void recount(generator *g) {
    g->recount = 0;
    if (g->scenario == FANOUT && g->complete) {
        memset(g->complete, 0, g->ring * sizeof *g->complete);
        for (uint32_t i = 0; i < g->n; i++) {
            client *c = g->clients + i;
            if (c->state == OPEN)
                for (uint64_t m = g->completed; m < c->heard; m++) g->complete[m % g->ring]++;
        }
    }
    if (g->scenario == ROOM) {
        g->round_heard = 0;
        for (uint32_t i = 0; i < g->n; i++)
            if (g->clients[i].state == OPEN && g->clients[i].heard >= g->round_size) g->round_heard++;
    }
}

/* Nobody has heard anything for a second: what is missing will not come. Go on without it, and say so. */
static int stalled(generator *g) {
    if (g->now - g->progress_at < S) return 0;
    g->counts.stalls++;
    count_error(g, E_STALLED, 0);
    g->progress_at = g->now;
    g->forgiven = g->now;
    return 1;
}

static client *next_speaker(generator *g) {
    for (uint32_t i = 0; i < g->speakers; i++) {
        client *c = g->clients + g->next_speaker++ % g->speakers;
        if (c->state == OPEN) return c;
    }
    return NULL;
}

/* A closed loop: a message is outstanding until everybody has heard it. */
static void step_window(generator *g) {
    while (g->completed < g->asked && g->complete[g->completed % g->ring] >= g->alive)
        g->complete[g->completed++ % g->ring] = 0;
    if (g->completed < g->asked && stalled(g)) {
        for (uint32_t i = 0; i < g->n; i++) g->clients[i].heard = g->asked;
        memset(g->complete, 0, g->ring * sizeof *g->complete);
        g->completed = g->asked;
    }
    client *c;
    while (sending(g) && g->asked - g->completed < g->window && (c = next_speaker(g))) {
        if (g->asked == g->completed) g->progress_at = g->now;
        ask(g, c, g->now);
        g->asked++;
        if (g->to_others) hears_next(g, c);
        mark_dirty(g, c);
    }
}

/* A room: everybody speaks, and when all have heard all, again; with a rate, when the next round is due. */
static void step_room(generator *g) {
    if (g->in_round && (g->round_heard >= g->alive || stalled(g))) {
        g->in_round = 0;
        if (g->round_heard >= g->alive) g->counts.rounds++;
    }
    if (g->in_round || !sending(g) || (g->interval > 0 && due_by_now(g) <= g->due)) return;
    g->round_at = g->interval > 0 ? due_at(g, g->due) : g->now;
    if (g->interval > 0) note_lateness(g, g->round_at);
    g->due++;
    g->in_round = 1;
    g->round_size = g->alive - (g->to_others != 0);
    g->round_heard = 0;
    g->progress_at = g->now;
    for (uint32_t i = 0; i < g->n; i++) {
        client *c = g->clients + i;
        c->heard = 0;
        if (c->state != OPEN) continue;
        ask(g, c, g->now);
        mark_dirty(g, c);
    }
}

/* Every free slot connects anew; with a rate, when a connection is due. */
static void step_connect(generator *g) {
    for (uint32_t i = 0; i < g->n && sending(g); i++) {
        client *c = g->clients + i;
        if (c->state != UNUSED) continue;
        if (g->interval > 0 && due_by_now(g) <= g->due) return;
        int64_t since = g->interval > 0 ? due_at(g, g->due) : g->now;
        if (g->interval > 0) note_lateness(g, since);
        g->due++;
        g->counts.asked++;
        start_client(g, c, since);
    }
}

/* What is due now; returns when to look again at the latest. */
static int64_t step(generator *g) {
    if (g->recount) recount(g);
    if (g->scenario == CONNECT) step_connect(g);
    else if (g->scenario == ROOM) step_room(g);
    else if (g->speakers && g->interval > 0) step_schedule(g);
    else if (g->speakers && g->scenario == FANOUT) step_window(g);
    int64_t wake = g->now + 100 * MS;
    if (g->interval > 0 && g->speakers && g->now < g->until) {
        int64_t next = due_at(g, g->due);
        /* A round or a connection that is due and cannot begin yet waits for an event, not for the clock. */
        if (next < wake && (next > g->now || g->scenario == ECHO || g->scenario == FANOUT)) wake = next;
    }
    if (wake > g->from && g->now < g->from) wake = g->from;
    if (wake > g->until && g->now < g->until) wake = g->until;
    return wake;
}

/* Nothing that was asked for is still to come. */
static int drained(const generator *g) {
    if (g->scenario == ROOM) return !g->in_round;
    if (g->scenario == CONNECT) return g->opening == 0 && g->alive == 0;
    if (g->scenario == IDLE || g->alive == 0) return 1;
    if (!g->speakers) return 0; /* how much another process has sent is not known here */
    if (g->scenario == FANOUT && g->interval == 0) return g->completed == g->asked;
    uint64_t hearers = g->scenario == FANOUT ? g->alive - (g->to_others != 0) : 1;
    uint64_t expected = g->counts.asked * hearers;
    return g->counts.received >= expected;
}

/* ==== 11. The loop ======================================================================================== */

static void time_out(generator *g) {
    for (uint32_t i = 0; i < g->n; i++) {
        client *c = g->clients + i;
        if (c->state == UNUSED || c->state == OPEN) continue;
        if (c->state == CLOSING && g->now - c->since > S) release(g, c, 1);
        else if (c->state != CLOSING && g->now - c->since > g->limit) fail(g, c, E_TIMEOUT, 0);
    }
}

static void flush_dirty(generator *g) {
    for (size_t i = 0; i < g->dirty_len; i++) {
        client *c = g->dirty[i];
        c->dirty = 0;
        if (c->state >= OPEN && !c->armed) flush(g, c);
    }
    g->dirty_len = 0;
}

static void on_event(generator *g, client *c, uint32_t events) {
    if (c->state == UNUSED) return;
    if (c->state == CONNECTING) {
        if (connected(g, c) < 0) return;
        if (c->state != TLS_HANDSHAKE) return;
    }
    if (c->state == TLS_HANDSHAKE) {
        tls_handshake(g, c);
        return;
    }
    if (events & EPOLLOUT && flush(g, c) < 0) return;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(g, c);
}

static int wait_events(generator *g, struct epoll_event *events, int max, int64_t wake) {
    int64_t wait = wake - g->now;
    if (wait < 0) wait = 0;
    if (!g->no_pwait2) {
        struct timespec t = {wait / S, wait % S};
        int n = (int)syscall(441 /* epoll_pwait2: waits in nanoseconds */, g->epfd, events, max, &t, NULL, 0);
        if (n >= 0 || errno != ENOSYS) return n;
        g->no_pwait2 = 1;
    }
    return epoll_wait(g->epfd, events, max, (int)((wait + MS - 1) / MS));
}

/* One turn: sends what is due, waits until `wake` at most, handles what came and returns whether anything did. */
static int turn(generator *g, int64_t wake) {
    struct epoll_event events[512];
    flush_dirty(g);
    int n = wait_events(g, events, 512, wake);
    g->now = now_ns();
    for (int i = 0; i < n; i++) on_event(g, events[i].data.ptr, events[i].events);
    return n > 0;
}

static int stopping(generator *g) { return __atomic_load_n(&g->stop, __ATOMIC_RELAXED); }

static void open_all(generator *g, uint32_t at_once) {
    int64_t checked = g->now = now_ns();
    while (!stopping(g) && (g->opening || g->next_open < g->n)) {
        /* When nobody gets in, the first answers tell enough. */
        if (!g->counts.opened && g->counts.failed >= at_once) g->next_open = g->n;
        while (g->opening < at_once && g->next_open < g->n) start_client(g, g->clients + g->next_open++, g->now);
        turn(g, g->now + 100 * MS);
        if (g->now - checked > 100 * MS) {
            time_out(g);
            checked = g->now;
        }
    }
    flush_dirty(g);
}

/* An open loop's answers that never came count with the age they had when nobody waited any longer. */
static void record_unanswered(generator *g) {
    if (g->scenario != ECHO || g->interval == 0) return;
    for (uint32_t i = 0; i < g->n; i++)
        for (client *c = g->clients + i; c->heard < c->asked; c->heard++) record_since(g, message_at(g, c, c->heard));
}

/* May be called again: what was counted stays, marks and schedule begin anew. */
static void run_all(generator *g, int64_t drain) {
    int64_t checked = g->now = now_ns(), end = g->until + drain;
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
    g->progress_at = g->begin > g->now ? g->begin : g->now;
    g->marks = 0;
    g->due = 0;
    if (g->scenario == ECHO && g->interval == 0) begin_echo(g);
    while (!stopping(g)) {
        int64_t wake = step(g);
        if (g->marks == 0 && g->now >= g->from) take_mark(g);
        if (g->marks == 1 && g->now >= g->until && !g->whole) take_mark(g);
        if (g->now >= g->until && (g->now >= end || drained(g))) break;
        if (g->scenario == CONNECT ? !g->counts.opened && g->counts.failed >= g->n : g->alive == 0) break;
        turn(g, wake);
        if (g->now - checked > 100 * MS) {
            time_out(g);
            checked = g->now;
        }
    }
    while (g->marks < 2) take_mark(g);
    record_unanswered(g);
}

/* Between two runs: answers pings, notices who was lost. Bounded, for a server may send without end. */
static void attend(generator *g) {
    g->now = now_ns();
    for (int i = 0; i < 100 && turn(g, g->now); i++) {}
    flush_dirty(g);
}

static void close_all(generator *g, int64_t patience) {
    g->now = now_ns();
    int64_t end = g->now + patience;
    for (uint32_t i = 0; i < g->n; i++)
        if (g->clients[i].state == OPEN) begin_close(g, g->clients + i);
    while (g->alive && g->now < end) turn(g, end);
    for (uint32_t i = 0; i < g->n; i++)
        if (g->clients[i].state != UNUSED) release(g, g->clients + i, 1);
}

/* ==== 12. The Python type ================================================================================= */

static int set_tls(generator *g) {
    if (load_ssl() < 0) return -1;
    g->ctx = ssl.SSL_CTX_new(ssl.TLS_client_method());
    if (!g->ctx) return PyErr_NoMemory(), -1;
    ssl.SSL_CTX_ctrl(g->ctx, SSL_CTRL_MODE, SSL_MODE_PARTIAL_WRITE_MOVING_BUFFER, NULL);
    if (!g->verify) return 0;
    ssl.SSL_CTX_set_default_verify_paths(g->ctx);
    ssl.SSL_CTX_set_verify(g->ctx, SSL_VERIFY_PEER, NULL);
    return 0;
}

static int set_address(generator *g, const char *host, int port) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)&g->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&g->address;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        g->address_len = sizeof *v4;
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        g->address_len = sizeof *v6;
    } else {
        PyErr_SetString(PyExc_ValueError, "not a numeric address");
        return -1;
    }
    return 0;
}

static int set_handshakes(generator *g, PyObject *list) {
    Py_ssize_t n = PyList_Size(list);
    if (n < 1) return PyErr_SetString(PyExc_ValueError, "no handshake"), -1;
    g->handshakes = calloc(n, sizeof *g->handshakes);
    if (!g->handshakes) return PyErr_NoMemory(), -1;
    g->handshakes_len = (uint32_t)n;
    for (Py_ssize_t i = 0; i < n; i++) {
        const char *head, *accept;
        Py_ssize_t head_len, accept_len;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(list, i), "y#y#", &head, &head_len, &accept, &accept_len)) return -1;
        if (accept_len != 28) return PyErr_SetString(PyExc_ValueError, "an accept token has 28 bytes"), -1;
        g->handshakes[i].head = malloc(head_len);
        if (!g->handshakes[i].head) return PyErr_NoMemory(), -1;
        memcpy(g->handshakes[i].head, head, head_len);
        g->handshakes[i].head_len = head_len;
        memcpy(g->handshakes[i].accept, accept, 28);
    }
    return 0;
}

static int set_frames(generator *g, Py_buffer *frame) {
    g->frame_len = frame->len;
    g->batch = frame->len && frame->len < BATCH ? BATCH / frame->len : 1;
    g->frames = malloc(g->batch * g->frame_len + 1);
    if (!g->frames) return PyErr_NoMemory(), -1;
    for (size_t i = 0; i < g->batch; i++) memcpy(g->frames + i * g->frame_len, frame->buf, frame->len);
    return 0;
}

static int set_clients(generator *g) {
    g->clients = calloc(g->n, sizeof *g->clients);
    g->dirty = calloc(g->n, sizeof *g->dirty);
    g->buf = malloc(BUFFER + CARRY);
    g->inflated = g->deflate ? malloc(BUFFER) : NULL;
    g->hist = calloc(2 * HIST_LEN, sizeof *g->hist);
    if (!g->clients || !g->dirty || !g->buf || !g->hist || (g->deflate && !g->inflated))
        return PyErr_NoMemory(), -1;
    g->hist_seen = g->hist + HIST_LEN;
    for (uint32_t i = 0; i < g->n; i++) {
        g->clients[i].fd = -1;
        if (g->scenario != ECHO || g->interval > 0) continue;
        g->clients[i].asked_at = calloc(g->depth, sizeof(int64_t));
        if (!g->clients[i].asked_at) return PyErr_NoMemory(), -1;
    }
    if (g->scenario == FANOUT && g->interval == 0) {
        g->ring = g->window + 1;
        g->complete = calloc(g->ring, sizeof *g->complete);
        if (!g->complete) return PyErr_NoMemory(), -1;
    }
    return 0;
}

static int generator_init(generator *g, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"scenario", "host", "port", "handshakes", "frame", "clients", "speakers", "depth",
                            "window", "rate", "phase", "size", "stamp_at", "stamp_mask", "separator", "deflate",
                            "speaks", "tls", "verify", "server_name", "base", "limit", "to_others",
                            NULL};
    const char *host, *server_name;
    int port, scenario;
    PyObject *handshakes;
    Py_buffer frame = {0}, mask = {0};
    unsigned n, speakers, depth, window;
    double rate, limit;
    long long size, base;
    if (g->clients) return PyErr_SetString(PyExc_RuntimeError, "already initialised"), -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "isiO!y*IIIIddLny*ippppsLdp", names, &scenario, &host, &port,
                                     &PyList_Type, &handshakes, &frame, &n, &speakers, &depth, &window, &rate,
                                     &g->phase, &size, &g->stamp_at, &mask, &g->separator, &g->deflate, &g->speaks,
                                     &g->tls, &g->verify, &server_name, &base, &limit,
                                     &g->to_others))
        return -1;
    int result = -1;
    struct in6_addr numeric;
    if (scenario < ECHO || scenario > IDLE || n < 1 || speakers > n || depth < 1 || window < 1 || rate < 0 ||
        mask.len != STAMP || (g->stamp_at >= 0 && g->stamp_at + STAMP > frame.len)) {
        PyErr_SetString(PyExc_ValueError, "settings out of range");
        goto done;
    }
    g->scenario = scenario;
    g->n = n;
    g->speakers = speakers;
    g->depth = depth;
    g->window = window;
    g->interval = rate > 0 ? 1e9 / rate : 0;
    g->size = size;
    g->base = base;
    g->limit = (int64_t)(limit * 1e9);
    g->content = g->stamp_at >= 0 || g->separator >= 0;
    memcpy(g->stamp_mask, mask.buf, STAMP);
    g->server_name = strdup(server_name);
    g->server_is_ip = inet_pton(AF_INET, server_name, &numeric) == 1 || inet_pton(AF_INET6, server_name, &numeric) == 1;
    if (!g->server_name) {
        PyErr_NoMemory();
        goto done;
    }
    if (set_address(g, host, port) < 0 || set_handshakes(g, handshakes) < 0 || set_frames(g, &frame) < 0 ||
        set_clients(g) < 0 || (g->tls && set_tls(g) < 0) || (g->deflate && load_zlib() < 0))
        goto done;
    g->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (g->epfd < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        goto done;
    }
    result = 0;
done:
    PyBuffer_Release(&frame);
    PyBuffer_Release(&mask);
    return result;
}

static PyObject *generator_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    generator *g = (generator *)type->tp_alloc(type, 0);
    if (g) g->epfd = -1;
    return (PyObject *)g;
}

static void generator_dealloc(generator *g) {
    for (uint32_t i = 0; g->clients && i < g->n; i++) {
        if (g->clients[i].state != UNUSED) release(g, g->clients + i, 1);
        free(g->clients[i].asked_at);
    }
    for (uint32_t i = 0; g->handshakes && i < g->handshakes_len; i++) free(g->handshakes[i].head);
    if (g->epfd >= 0) close(g->epfd);
    if (g->ctx) ssl.SSL_CTX_free(g->ctx);
    free(g->handshakes);
    free(g->clients);
    free(g->dirty);
    free(g->frames);
    free(g->buf);
    free(g->inflated);
    free(g->hist);
    free(g->complete);
    free(g->server_name);
    PyTypeObject *type = Py_TYPE(g);
    type->tp_free((PyObject *)g);
    Py_DECREF(type);
}

static int enter(generator *g) {
    if (g->epfd < 0) return PyErr_SetString(PyExc_RuntimeError, "not initialised"), -1;
    if (g->busy) return PyErr_SetString(PyExc_RuntimeError, "the generator runs already"), -1;
    g->busy = 1;
    return 0;
}

static PyObject *generator_open(generator *g, PyObject *args) {
    unsigned at_once;
    if (!PyArg_ParseTuple(args, "I", &at_once) || enter(g) < 0) return NULL;
    Py_BEGIN_ALLOW_THREADS
    open_all(g, at_once ? at_once : 1);
    Py_END_ALLOW_THREADS
    g->busy = 0;
    return PyLong_FromUnsignedLong(g->alive);
}

static PyObject *generator_run(generator *g, PyObject *args) {
    long long begin, from, until;
    double drain;
    int whole;
    if (!PyArg_ParseTuple(args, "LLLdp", &begin, &from, &until, &drain, &whole) || enter(g) < 0) return NULL;
    g->begin = begin;
    g->from = from;
    g->until = until;
    g->whole = whole;
    Py_BEGIN_ALLOW_THREADS
    run_all(g, (int64_t)(drain * 1e9));
    Py_END_ALLOW_THREADS
    g->busy = 0;
    Py_RETURN_NONE;
}

static PyObject *generator_attend(generator *g, PyObject *unused) {
    (void)unused;
    if (enter(g) < 0) return NULL;
    Py_BEGIN_ALLOW_THREADS
    attend(g);
    Py_END_ALLOW_THREADS
    g->busy = 0;
    Py_RETURN_NONE;
}

static PyObject *generator_close(generator *g, PyObject *args) {
    double patience;
    if (!PyArg_ParseTuple(args, "d", &patience) || enter(g) < 0) return NULL;
    Py_BEGIN_ALLOW_THREADS
    close_all(g, (int64_t)(patience * 1e9));
    Py_END_ALLOW_THREADS
    g->busy = 0;
    Py_RETURN_NONE;
}

static PyObject *generator_stop(generator *g, PyObject *unused) {
    (void)unused;
    __atomic_store_n(&g->stop, 1, __ATOMIC_RELAXED);
    Py_RETURN_NONE;
}

static PyObject *counts_dict(const struct counts *counts, uint32_t alive) {
    PyObject *dict = PyDict_New();
    const uint64_t *values = (const uint64_t *)counts;
    for (int i = 0; dict && i <= COUNTS; i++) {
        uint64_t value = i < COUNTS ? __atomic_load_n(values + i, __ATOMIC_RELAXED) : alive;
        PyObject *number = PyLong_FromUnsignedLongLong(value);
        if (!number || PyDict_SetItemString(dict, i < COUNTS ? COUNT_NAMES[i] : "alive", number) < 0) Py_CLEAR(dict);
        Py_XDECREF(number);
    }
    return dict;
}

static PyObject *generator_counters(generator *g, PyObject *unused) {
    (void)unused;
    return counts_dict(&g->counts, __atomic_load_n(&g->alive, __ATOMIC_RELAXED));
}

static PyObject *mark_tuple(const struct mark *m) {
    return Py_BuildValue("NLLL", counts_dict(&m->counts, 0), (long long)m->wall, (long long)m->cpu,
                         (long long)m->waited);
}

static PyObject *generator_marks(generator *g, PyObject *unused) {
    (void)unused;
    return Py_BuildValue("NN", mark_tuple(&g->mark[0]), mark_tuple(&g->mark[1]));
}

static PyObject *generator_errors(generator *g, PyObject *unused) {
    (void)unused;
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < KINDS && g->errors[i].count; i++) {
        PyObject *row = Py_BuildValue("IIK", g->errors[i].kind, g->errors[i].detail,
                                      (unsigned long long)g->errors[i].count);
        if (!row || PyList_Append(list, row) < 0) Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

static PyObject *generator_note(generator *g, PyObject *unused) {
    (void)unused;
    return PyUnicode_DecodeLatin1(g->note, strnlen(g->note, NOTE), NULL);
}

static PyObject *generator_histogram(generator *g, PyObject *unused) {
    (void)unused;
    if (!g->hist) return PyBytes_FromStringAndSize(NULL, 0);
    return PyBytes_FromStringAndSize((const char *)g->hist, HIST_LEN * sizeof *g->hist);
}

static PyObject *generator_interval(generator *g, PyObject *unused) {
    (void)unused;
    uint64_t total = 0, seen = 0, p50 = 0, p99 = 0, max = 0, *fresh = malloc(HIST_LEN * sizeof *fresh);
    if (!fresh || !g->hist) return free(fresh), PyErr_NoMemory();
    for (int i = 0; i < HIST_LEN; i++) {
        uint64_t value = __atomic_load_n(g->hist + i, __ATOMIC_RELAXED);
        total += fresh[i] = value - g->hist_seen[i];
        g->hist_seen[i] = value;
    }
    for (int i = 0; i < HIST_LEN && total; i++) {
        if (!fresh[i]) continue;
        seen += fresh[i];
        max = slot_value(i);
        if (!p50 && seen * 2 >= total) p50 = max;
        if (!p99 && seen * 100 >= total * 99) p99 = max;
    }
    free(fresh);
    return Py_BuildValue("KKKK", (unsigned long long)total, (unsigned long long)p50, (unsigned long long)p99,
                         (unsigned long long)max);
}

static PyMethodDef generator_methods[] = {
    {"open", (PyCFunction)generator_open, METH_VARARGS, "open(at_once) -> clients that are open"},
    {"run", (PyCFunction)generator_run, METH_VARARGS, "run(begin, start, end, drain, whole): ns of CLOCK_MONOTONIC, seconds"},
    {"attend", (PyCFunction)generator_attend, METH_NOARGS, "Answer the pings that have come between two runs"},
    {"close", (PyCFunction)generator_close, METH_VARARGS, "close(patience): the closing handshake of every client"},
    {"stop", (PyCFunction)generator_stop, METH_NOARGS, "End open() or run() soon; from any thread"},
    {"counters", (PyCFunction)generator_counters, METH_NOARGS, "The counts so far; from any thread"},
    {"marks", (PyCFunction)generator_marks, METH_NOARGS, "(counts, wall, cpu, waited) at both ends of the measured time"},
    {"errors", (PyCFunction)generator_errors, METH_NOARGS, "[(kind, detail, count)]"},
    {"note", (PyCFunction)generator_note, METH_NOARGS, "The first refusal or TLS failure, in the server's words"},
    {"histogram", (PyCFunction)generator_histogram, METH_NOARGS, "The counts of an HdrHistogram(1, 3600e9, 3)"},
    {"interval", (PyCFunction)generator_interval, METH_NOARGS, "(count, p50, p99, max) in ns since the last call"},
    {NULL, NULL, 0, NULL}};

static PyType_Slot generator_slots[] = {{Py_tp_new, generator_new},
                                        {Py_tp_init, generator_init},
                                        {Py_tp_dealloc, generator_dealloc},
                                        {Py_tp_methods, generator_methods},
                                        {Py_tp_doc, "N WebSocket clients in one epoll loop. See worker.py."},
                                        {0, NULL}};

static PyType_Spec generator_spec = {.name = "fastws.loadgen._loadgen.Generator", .basicsize = sizeof(generator),
                                     .flags = Py_TPFLAGS_DEFAULT, .slots = generator_slots};

static int module_exec(PyObject *module) {
    memset(digit_value, 255, sizeof digit_value);
    for (int i = 0; i < 64; i++) digit_value[(uint8_t)ALPHABET[i]] = (uint8_t)i;
    PyObject *type = PyType_FromSpec(&generator_spec);
    if (!type || PyModule_AddObjectRef(module, "Generator", type) < 0) return Py_XDECREF(type), -1;
    Py_DECREF(type);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_loadgen",
                                    .m_doc = "The load generator's engine.", .m_slots = module_slots};

PyMODINIT_FUNC PyInit__loadgen(void) { return PyModuleDef_Init(&module); }
