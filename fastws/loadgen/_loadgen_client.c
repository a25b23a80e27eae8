/* One client: its socket, what it sends, how it ends. */
#include "_loadgen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* The last row takes all kinds that find no row of their own. */
void client_count_error(generator *g, uint32_t kind, uint32_t detail) {
    for (int i = 0; i < ERRORS; i++) {
        if (g->errors[i].count && (g->errors[i].kind != kind || g->errors[i].detail != detail) && i < ERRORS - 1)
            continue;
        g->errors[i].kind = kind;
        g->errors[i].detail = detail;
        g->errors[i].count++;
        return;
    }
}

/* The first note stays. */
void client_keep_note(generator *g, const char *text, size_t n) {
    if (g->note[0]) return;
    if (n >= NOTE_SIZE) n = NOTE_SIZE - 1;
    memcpy(g->note, text, n);
    g->note[n] = 0;
}

/* `writes`: the socket refused bytes, so epoll has to report when it takes some again. */
void client_watch(generator *g, client *c, int writes) {
    if (c->armed == writes) return;
    c->armed = writes;
    struct epoll_event e = {.events = EPOLLIN | (writes ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(g->epfd, EPOLL_CTL_MOD, c->fd, &e);
}

/* Ends the client and empties its slot. `reset`: end TCP with RST, which leaves no TIME_WAIT on this side. (With
 * 28,000 of them one address has no free port for a minute.) */
void client_release(generator *g, client *c, int reset) {
    if (c->state == OPEN || c->state == CLOSING) g->alive--;
    if (c->state >= CONNECTING && c->state <= UPGRADING) g->opening--;
    if (c->state == OPEN) g->recount = 1;
    tls_release(c);
    message_release(c);
    if (reset) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    if (c->fd >= 0) close(c->fd);
    free(c->head);
    free(c->obuf);
    int64_t *scheduled_at = c->scheduled_at;
    uint8_t dirty = c->dirty;
    uint64_t scheduled = c->scheduled, received = c->received;
    uint8_t nonce[STAMP_DIGITS];
    memcpy(nonce, c->nonce, sizeof nonce);
    memset(c, 0, sizeof *c);
    c->fd = -1;
    c->scheduled_at = scheduled_at;
    c->dirty = dirty;
    c->scheduled = scheduled;
    c->received = received;
    memcpy(c->nonce, nonce, sizeof nonce);
}

/* Returns -1, which the caller hands on. While a client closes, each end is a good end and no error. */
int client_fail(generator *g, client *c, uint32_t kind, uint32_t detail) {
    if (c->state == OPEN) g->counts.lost++;
    else if (c->state != CLOSING) g->counts.failed++;
    if (c->state != CLOSING) client_count_error(g, kind, detail);
    int peer_ends_tcp = kind == E_EOF || kind == E_CLOSED;
    client_release(g, c, !peer_ends_tcp);
    return -1;
}

/* Both return how many bytes were moved; 0: not now; -1: the client is gone. */
static ssize_t send_some(generator *g, client *c, const uint8_t *p, size_t n) {
    if (c->ssl) return tls_send(g, c, p, n);
    ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT | (c->tail_len ? MSG_MORE : 0));
    if (sent >= 0) return sent;
    return errno == EAGAIN || errno == EINTR ? 0 : client_fail(g, c, E_SOCKET, errno);
}

ssize_t client_recv(generator *g, client *c, uint8_t *p, size_t n) {
    if (c->ssl) return tls_recv(g, c, p, n);
    ssize_t got = recv(c->fd, p, n, MSG_DONTWAIT);
    if (got > 0) return got;
    if (got == 0) return client_fail(g, c, E_EOF, 0);
    return errno == EAGAIN || errno == EINTR ? 0 : client_fail(g, c, E_SOCKET, errno);
}

/* `since`: the moment from which the time of its handshake counts. */
int client_connect(generator *g, client *c, int64_t since) {
    const endpoint *to = endpoint_of(g, c);
    c->fd = socket(to->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->state = CONNECTING;
    c->since = since;
    g->opening++;
    if (c->fd < 0) return client_fail(g, c, E_CONNECT, errno);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(c->fd, (const struct sockaddr *)&to->address, to->address_len) && errno != EINPROGRESS)
        return client_fail(g, c, E_CONNECT, errno);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    c->armed = 1;
    if (epoll_ctl(g->epfd, EPOLL_CTL_ADD, c->fd, &e)) return client_fail(g, c, E_CONNECT, errno);
    return 0;
}

/* The loop flushes this client when the events of this turn are done. */
void client_mark_dirty(generator *g, client *c) {
    if (c->dirty) return;
    c->dirty = 1;
    g->dirty[g->dirty_len++] = c;
}

static int reserve_output(client *c, size_t n) {
    if (c->obuf_size >= n) return 0;
    uint8_t *grown = realloc(c->obuf, n);
    if (!grown) return -1;
    c->obuf = grown;
    c->obuf_size = n;
    return 0;
}

static void put_stamp(const generator *g, uint8_t *frame, int64_t at) {
    uint64_t v = (uint64_t)(at - g->base);
    for (int i = 0; i < STAMP_DIGITS; i++)
        frame[g->stamp_at + i] = (uint8_t)STAMP_ALPHABET[v >> (6 * (STAMP_DIGITS - 1 - i)) & 63] ^ g->stamp_mask[i];
}

/* Copies the first n frames and puts stamps or the client's nonce into the copies. Of a large frame only the beginning
 * is copied, up to the digits: a copy of all of it for each client would need much memory. */
static int copy_frames(generator *g, client *c, size_t n) {
    size_t digits_end = g->nonce_len ? g->nonce_at + g->nonce_len : g->stamp_at + STAMP_DIGITS;
    size_t copied = g->frame_len > BATCH_SIZE ? digits_end : n * g->frame_len;
    if (reserve_output(c, copied) < 0) return -1;
    memcpy(c->obuf, g->frames, copied);
    for (size_t i = 0; i < n; i++) {
        uint8_t *frame = c->obuf + i * g->frame_len;
        if (!g->nonce_len) put_stamp(g, frame, schedule_message_at(g, c, c->built + i));
        for (Py_ssize_t d = 0; d < g->nonce_len; d++) frame[g->nonce_at + d] = c->nonce[d] ^ g->stamp_mask[d];
    }
    c->out = c->obuf;
    c->out_len = copied;
    c->tail = g->frames + copied;
    c->tail_len = n * g->frame_len - copied;
    return 0;
}

/* Called when `out` is sent: puts the rest of its frame there, or at a frame's boundary the next control frame or
 * messages. 0: nothing to send. */
static int next_output(generator *g, client *c) {
    if (c->tail_len) {
        c->out = c->tail;
        c->out_len = c->tail_len;
        c->tail_len = 0;
        return 1;
    }
    if (c->control_len) {
        if (reserve_output(c, BATCH_SIZE) < 0) return 0;
        memcpy(c->obuf, c->control, c->control_len);
        c->out = c->obuf;
        c->out_len = c->control_len;
        c->control_len = 0;
        return 1;
    }
    if (!c->unsent || c->state != OPEN) return 0;
    size_t n = c->unsent < g->batch ? c->unsent : g->batch;
    c->out = g->frames;
    c->out_len = n * g->frame_len;
    if ((g->nonce_len || g->stamp_at >= 0) && copy_frames(g, c, n) < 0) return 0;
    c->unsent -= n;
    c->built += n;
    g->counts.sent += n;
    return 1;
}

/* Sends until there is nothing left or the socket takes no more. */
int client_flush(generator *g, client *c) {
    while (c->out_len || next_output(g, c)) {
        ssize_t n = send_some(g, c, c->out, c->out_len);
        if (n < 0) return -1;
        if (n == 0) return client_watch(g, c, 1), 0;
        c->out += n;
        c->out_len -= n;
    }
    client_watch(g, c, 0);
    return 0;
}

/* The control frame is sent at the next frame's boundary. Only the newest waits: a pong replaces an older one (RFC
 * 6455, section 5.5.3), a close replaces a pong. */
void client_put_control(client *c, uint8_t opcode, const uint8_t *payload, uint8_t n) {
    static const uint8_t mask[4] = {0x5a, 0xc3, 0x96, 0x3c};
    c->control[0] = 0x80 | opcode;
    c->control[1] = 0x80 | n;
    memcpy(c->control + 2, mask, 4);
    for (uint8_t i = 0; i < n; i++) c->control[6 + i] = payload[i] ^ mask[i & 3];
    c->control_len = 6 + n;
}

void client_begin_close(generator *g, client *c) {
    static const uint8_t normal[2] = {1000 >> 8, 1000 & 255};
    client_put_control(c, 8, normal, 2);
    c->state = CLOSING;
    c->unsent = 0;
    c->since = g->now;
    g->recount = 1;
    client_mark_dirty(g, c);
}
