/* What the two bare servers share: the upgrade, the frames, one epoll loop. They are the physical limit the
 * benchmark compares with, so they do only what a WebSocket server cannot leave out: no UTF-8 check, no limits,
 * no fragments joined, no timeouts, one thread. Never for anything but a benchmark.
 *
 * A server includes this file and defines
 *     on_frames(c, frames, n)  the whole data frames of one read, already unmasked in place and in wire form
 *     on_turn()                every ready socket of this poll has been read
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct {
    int fd, open, waits; /* waits: EPOLLOUT is armed, and reading has stopped */
    uint8_t *in, *out;   /* an incomplete frame; what the socket has refused */
    size_t in_len, in_cap, out_len, out_cap;
} conn;

static void on_frames(conn *c, const uint8_t *frames, size_t n);
static void on_turn(void);

static conn **conns; /* by descriptor */
static int conns_len, epfd;
static const int READS_GO_ON; /* defined by the server: 1 = keep reading from a socket that refuses bytes */
static uint8_t scratch[1 << 18];

/* ---- buffers ------------------------------------------------------------------------------------------- */
static void append(uint8_t **buf, size_t *len, size_t *cap, const uint8_t *p, size_t n) {
    if (*len + n > *cap) {
        *cap = (*len + n) * 2;
        *buf = realloc(*buf, *cap);
        if (!*buf) abort();
    }
    memcpy(*buf + *len, p, n);
    *len += n;
}

static void drop(conn *c) {
    conns[c->fd] = NULL;
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}

static void watch(conn *c, int waits) {
    if (waits == c->waits) return;
    c->waits = waits;
    uint32_t reads = !waits || READS_GO_ON ? EPOLLIN : 0;
    struct epoll_event e = {.events = reads | (waits ? EPOLLOUT : 0), .data.fd = c->fd};
    epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e);
}

/* Sends, or keeps what the socket refuses. The caller may not use c after -1. */
static int put(conn *c, const uint8_t *p, size_t n) {
    ssize_t sent = 0;
    if (!c->out_len) {
        sent = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno != EAGAIN) return shutdown(c->fd, SHUT_RDWR), -1; /* the loop sees the end and drops */
            sent = 0;
        }
    }
    if ((size_t)sent < n) {
        append(&c->out, &c->out_len, &c->out_cap, p + sent, n - sent);
        watch(c, 1);
    }
    return 0;
}

static int put_waiting(conn *c) {
    ssize_t sent = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return errno == EAGAIN ? 0 : -1;
    memmove(c->out, c->out + sent, c->out_len -= sent);
    if (!c->out_len) {
        free(c->out);
        c->out = NULL;
        c->out_cap = 0;
        watch(c, 0);
    }
    return 0;
}

/* ---- the upgrade: RFC 6455 section 4.2.2, with SHA-1 (RFC 3174) and base64 of our own ------------------- */
static uint32_t rol(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1(const char *s, size_t n, uint8_t out[20]) { /* n < 120 */
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0}, w[80];
    uint8_t m[128] = {0};
    memcpy(m, s, n);
    m[n] = 0x80;
    size_t blocks = n + 9 > 64 ? 2 : 1;
    m[blocks * 64 - 2] = n * 8 >> 8, m[blocks * 64 - 1] = n * 8;
    for (size_t b = 0; b < blocks; b++) {
        for (int i = 0; i < 16; i++) {
            const uint8_t *q = m + b * 64 + i * 4;
            w[i] = (uint32_t)q[0] << 24 | q[1] << 16 | q[2] << 8 | q[3];
        }
        for (int i = 16; i < 80; i++) w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        uint32_t a = h[0], B = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20 ? ((B & c) | (~B & d)) + 0x5A827999 : i < 40 ? (B ^ c ^ d) + 0x6ED9EBA1
                       : i < 60 ? ((B & c) | (B & d) | (c & d)) + 0x8F1BBCDC : (B ^ c ^ d) + 0xCA62C1D6;
            uint32_t t = rol(a, 5) + f + e + w[i];
            e = d, d = c, c = rol(B, 30), B = a, a = t;
        }
        h[0] += a, h[1] += B, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++) out[i] = h[i / 4] >> (24 - i % 4 * 8);
}

/* 0: the head is not complete; -1: not an upgrade; else the length of the head, answered with 101. */
static ssize_t upgrade(conn *c, const uint8_t *p, size_t n) {
    const char *end = memmem(p, n, "\r\n\r\n", 4), *key = NULL;
    if (!end) return 0;
    for (const char *s = (const char *)p; s < end && !key; s++)
        if (*s == '\n' && !strncasecmp(s + 1, "Sec-WebSocket-Key:", 18)) key = s + 19;
    if (!key) return -1;
    key += strspn(key, " \t");
    char text[64], head[200];
    uint8_t d[21] = {0};
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1(text, strlen(text), d);
    char accept[29] = {0};
    for (int i = 0, j = 0; i < 21; i += 3) {
        uint32_t v = d[i] << 16 | d[i + 1] << 8 | d[i + 2];
        for (int k = 18; k >= 0; k -= 6)
            accept[j++] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[v >> k & 63];
    }
    accept[27] = '='; /* 20 bytes leave one byte of padding */
    int len = snprintf(head, sizeof head, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    if (put(c, (uint8_t *)head, len) < 0) return -1;
    c->open = 1;
    return end + 4 - (const char *)p;
}

/* ---- frames -------------------------------------------------------------------------------------------- */
static void unmask(uint8_t *to, const uint8_t *from, size_t n, const uint8_t key[4]) {
    uint64_t k8, v;
    memcpy(&k8, key, 4);
    memcpy((uint8_t *)&k8 + 4, key, 4);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&v, from + i, 8);
        v ^= k8;
        memcpy(to + i, &v, 8);
    }
    for (; i < n; i++) to[i] = from[i] ^ key[i & 3];
}

/* Turns the whole client frames at p into server frames in place: unmasked they are 4 bytes shorter each, so
 * they close up to the left. Returns the bytes used, -1 at the end of the connection. */
static ssize_t take_frames(conn *c, uint8_t *p, size_t n) {
    size_t r = 0, w = 0;
    int ends = 0;
    while (n - r >= 6 && !ends) {
        uint8_t b0 = p[r], key[4];
        uint64_t len = p[r + 1] & 127, head = 2;
        if (!(p[r + 1] & 128)) return -1;
        if (len == 126) len = p[r + 2] << 8 | p[r + 3], head = 4;
        else if (len == 127) {
            if (n - r < 14) break;
            uint64_t be;
            memcpy(&be, p + r + 2, 8);
            len = be64toh(be), head = 10;
        }
        if (n - r < head + 4 || n - r - head - 4 < len) break;
        uint8_t h[10];
        memcpy(h, p + r, head);
        memcpy(key, p + r + head, 4);
        h[1] &= 127;
        if (b0 & 8) { /* a control frame: ping -> pong, close -> close, pong -> nothing */
            uint8_t reply[127] = {(b0 & 15) == 9 ? 0x8A : 0x88, h[1]};
            unmask(reply + 2, p + r + head + 4, len, key);
            if ((b0 & 15) != 10 && put(c, reply, 2 + len) < 0) return -1;
            ends = (b0 & 15) == 8;
        } else {
            memcpy(p + w, h, head);
            unmask(p + w + head, p + r + head + 4, len, key);
            w += head + len;
        }
        r += head + 4 + len;
    }
    if (w) on_frames(c, p, w);
    return ends ? -1 : (ssize_t)r;
}

static int on_readable(conn *c) {
    uint8_t *p = scratch;
    ssize_t n = recv(c->fd, scratch, sizeof scratch, MSG_DONTWAIT), used = 0;
    if (n < 0) return errno == EAGAIN ? 0 : -1;
    if (n == 0) return -1;
    int kept = c->in_len > 0;
    if (kept) {
        append(&c->in, &c->in_len, &c->in_cap, scratch, n);
        p = c->in, n = c->in_len;
    }
    if (!c->open) {
        used = upgrade(c, p, n);
        if (used < 0) return -1;
    }
    if (c->open) {
        ssize_t more = take_frames(c, p + used, n - used);
        if (more < 0) return -1;
        used += more;
    }
    if (kept) memmove(c->in, c->in + used, c->in_len -= used);
    else if (used < n) append(&c->in, &c->in_len, &c->in_cap, p + used, n - used);
    return 0;
}

/* ---- the loop ------------------------------------------------------------------------------------------ */
static void on_connection(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        if (fd >= conns_len) {
            int grown = fd * 2 + 64;
            conns = realloc(conns, grown * sizeof *conns);
            if (!conns) abort();
            memset(conns + conns_len, 0, (grown - conns_len) * sizeof *conns);
            conns_len = grown;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        conn *c = calloc(1, sizeof *c);
        if (!c) abort();
        c->fd = fd;
        conns[fd] = c;
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e);
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 4096)) return perror("listen"), 1;
    getsockname(listener, (struct sockaddr *)&a, &(socklen_t){sizeof a});
    printf("listening on 127.0.0.1:%d\n", ntohs(a.sin_port));
    fflush(stdout);
    epfd = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[1024];
    epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(epfd, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener) {
                on_connection(listener);
                continue;
            }
            conn *c = conns[events[i].data.fd];
            int ends = c->waits && events[i].events & EPOLLOUT && put_waiting(c) < 0;
            if (!ends && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) ends = on_readable(c) < 0;
            if (ends) drop(c);
        }
        on_turn();
    }
}
