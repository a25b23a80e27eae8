/* Opens, runs and closes all clients, and waits for their sockets. */
#include "_loadgen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * S + t.tv_nsec;
}

int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

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

static void take_snapshot(generator *g) {
    struct snapshot *m = &g->snapshot[g->snapshots++];
    m->counts = g->counts;
    m->wall = now_ns();
    m->cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    m->waited = waited_ns();
}

static void fail_overdue_clients(generator *g) {
    for (uint32_t i = 0; i < g->n; i++) {
        client *c = g->clients + i;
        if (c->state == UNUSED || c->state == OPEN) continue;
        if (c->state == CLOSING && g->now - c->since > S) client_release(g, c, 1);
        else if (c->state != CLOSING && g->now - c->since > g->limit) client_fail(g, c, E_TIMEOUT, 0);
    }
}

static int readable(generator *g, client *c) {
    for (int i = 0; i < 16; i++) { /* a server that never pauses must not starve the others */
        uint8_t *p = g->buf + c->carry_len;
        memcpy(g->buf, c->carry, c->carry_len);
        ssize_t n = client_recv(g, c, p, BUFFER_SIZE);
        if (n < 0) return -1;
        if (n == 0) break;
        g->now = now_ns();
        g->counts.bytes_in += n;
        c->carry_len = 0;
        int gone = c->state == UPGRADING ? upgrade_read(g, c, p, n) : frames_read(g, c, g->buf, p + n);
        if (gone < 0) return -1;
        if (!c->ssl && n < BUFFER_SIZE) break;
        if (c->ssl && i == 15) i = 14; /* epoll does not report again what OpenSSL holds already */
    }
    return c->unsent || c->out_len || c->control_len ? client_flush(g, c) : 0;
}

static void flush_dirty_clients(generator *g) {
    for (size_t i = 0; i < g->dirty_len; i++) {
        client *c = g->dirty[i];
        c->dirty = 0;
        if (c->state >= OPEN && !c->armed) client_flush(g, c);
    }
    g->dirty_len = 0;
}

static void handle_event(generator *g, client *c, uint32_t events) {
    if (c->state == UNUSED) return;
    if (c->state == CONNECTING) {
        if (upgrade_connected(g, c) < 0) return;
        if (c->state != TLS_HANDSHAKE) return;
    }
    if (c->state == TLS_HANDSHAKE) {
        tls_handshake(g, c);
        return;
    }
    if (events & EPOLLOUT && client_flush(g, c) < 0) return;
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

/* Sends what is due, waits until `wake` at most, and handles what came. Returns whether anything came. */
static int turn(generator *g, int64_t wake) {
    struct epoll_event events[512];
    flush_dirty_clients(g);
    int n = wait_events(g, events, 512, wake);
    g->now = now_ns();
    for (int i = 0; i < n; i++) handle_event(g, events[i].data.ptr, events[i].events);
    return n > 0;
}

static int stopping(generator *g) { return __atomic_load_n(&g->stop, __ATOMIC_RELAXED); }

/* How many clients may have begun to open: all, or of a ramp those whose time has come. */
static uint32_t ramped(const generator *g, int64_t begin, int64_t ramp) {
    int64_t passed = g->now - begin;
    return passed >= ramp ? g->n : 1 + (uint32_t)((double)passed / (double)ramp * (g->n - 1));
}

void loop_open(generator *g, uint32_t at_once, int64_t ramp) {
    int64_t begin = now_ns(), checked = g->now = begin;
    while (!stopping(g) && (g->opening || g->next_open < g->n)) {
        /* When no client of the first ones opens, no other will. */
        if (!g->counts.opened && g->counts.failed >= at_once) g->next_open = g->n;
        uint32_t may = ramped(g, begin, ramp);
        while (g->opening < at_once && g->next_open < may) client_connect(g, g->clients + g->next_open++, g->now);
        turn(g, g->now + (may < g->n ? MS : 100 * MS));
        if (g->now - checked > 100 * MS) {
            fail_overdue_clients(g);
            checked = g->now;
        }
    }
    flush_dirty_clients(g);
}

/* May be called again: counts go on, snapshots and schedule start again. */
void loop_run(generator *g, int64_t drain) {
    int64_t checked = g->now = now_ns(), end = g->until + drain;
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
    g->progress_at = g->begin > g->now ? g->begin : g->now;
    g->snapshots = 0;
    g->due = 0;
    if (g->scenario == ECHO && g->interval == 0) schedule_begin_echo(g);
    while (!stopping(g)) {
        int64_t wake = schedule_step(g);
        if (g->snapshots == 0 && g->now >= g->from) take_snapshot(g);
        if (g->snapshots == 1 && g->now >= g->until && !g->until_drained) take_snapshot(g);
        if (g->now >= g->until && (g->now >= end || schedule_drained(g))) break;
        if (g->scenario == CONNECT ? !g->counts.opened && g->counts.failed >= g->n : g->alive == 0) break;
        turn(g, wake);
        if (g->now - checked > 100 * MS) {
            fail_overdue_clients(g);
            checked = g->now;
        }
    }
    while (g->snapshots < 2) take_snapshot(g);
    schedule_unanswered(g);
}

/* Between two runs: answers pings and counts lost clients. It has an end, because a server may send without one. */
void loop_answer_pings(generator *g) {
    g->now = now_ns();
    for (int i = 0; i < 100 && turn(g, g->now); i++) {}
    flush_dirty_clients(g);
}

void loop_close(generator *g, int64_t patience) {
    g->now = now_ns();
    int64_t end = g->now + patience;
    for (uint32_t i = 0; i < g->n; i++)
        if (g->clients[i].state == OPEN) client_begin_close(g, g->clients + i);
    while (g->alive && g->now < end) turn(g, end);
    for (uint32_t i = 0; i < g->n; i++)
        if (g->clients[i].state != UNUSED) client_release(g, g->clients + i, 1);
}
