/* When a client sends, and what a received message means for its scenario.
 *
 * An open loop (with a rate) has a schedule: message k is due at a fixed time, and latency counts from then. In a
 * closed loop the next message waits for an answer to one before. */
#include "_loadgen.h"

#include <string.h>

/* When message k of the schedule is due. */
static int64_t due_at(const generator *g, uint64_t k) {
    return g->begin + (int64_t)(((double)k + g->phase) * g->interval);
}

/* The moment at which this sender's message k was due; in a closed loop, now. */
int64_t schedule_message_at(const generator *g, const client *c, uint64_t k) {
    return g->interval > 0 ? due_at(g, (uint64_t)(c - g->clients) + k * g->senders) : g->now;
}

/* One more message that this client has to send. `at` is for a closed loop: the moment its latency counts from. */
void schedule_message(generator *g, client *c, int64_t at) {
    if (c->scheduled_at) c->scheduled_at[c->scheduled % g->depth] = at;
    c->scheduled++;
    c->unsent++;
    g->counts.scheduled++;
}

/* A closed-loop fan-out: this client has received its next message. */
static void count_delivery(generator *g, client *c) {
    if (c->received >= g->scheduled) return;
    g->complete[c->received % g->ring]++;
    c->received++;
}

static void fanout_received(generator *g, client *c, int64_t stamp) {
    g->counts.received++;
    if (stamp >= 0) hist_record_since(g, stamp);
    if (g->interval == 0 && (stamp < 0 || stamp >= g->given_up_at)) count_delivery(g, c);
}

/* A server that sends to all gives a client more answers than it has sent messages, and those of others. */
static void echo_foreign(generator *g, int surplus) {
    g->counts.foreign++;
    client_count_error(g, E_FOREIGN, surplus);
}

/* `own`: the answer carries this client's nonce, or cannot be told from one that does. */
static void echo_received(generator *g, client *c, int own) {
    if (!own) {
        echo_foreign(g, 0);
        return;
    }
    if (c->received >= c->built) { /* nothing was sent that this could be the answer to */
        if (c->given_up) c->given_up--;
        else if (g->size >= 0) echo_foreign(g, 1);
        g->counts.other++;
        return;
    }
    g->counts.received++;
    uint64_t k = c->received;
    hist_record_since(g, c->scheduled_at ? c->scheduled_at[k % g->depth] : schedule_message_at(g, c, k));
    c->received++;
    if (g->interval == 0 && g->now < g->until) schedule_message(g, c, g->now);
}

static void room_received(generator *g, client *c) {
    g->counts.received++;
    if (++c->received != g->round_size || !g->in_round) return;
    g->round_complete++;
    hist_record_since(g, g->round_at);
}

/* A message, or a part between separators, is complete. `length` -1: it was compressed and not looked into.
 * `stamp` -1: it carries none, or where messages carry nonces: it is not this client's own. */
void schedule_received(generator *g, client *c, int64_t length, int64_t stamp) {
    int counts = g->stamp_at >= 0 ? stamp >= 0 || length < 0 : g->size < 0 || length < 0 || length == g->size;
    g->progress_at = g->now;
    if (!counts) g->counts.other++;
    else if (g->scenario == FANOUT) fanout_received(g, c, stamp);
    else if (g->scenario == ECHO) echo_received(g, c, !g->nonce_len || stamp >= 0 || length < 0);
    else if (g->scenario == ROOM) room_received(g, c);
    else g->counts.received++;
}

/* The handshake is done. */
void schedule_opened(generator *g, client *c) {
    c->state = OPEN;
    /* Decompressing all of it would make this process the bottleneck. */
    int sample = (c - g->clients) % 16 == 0 || (g->n < 64 && g->scenario != ECHO);
    c->inflates = g->deflate && (g->separator >= 0 || (g->reads_content && sample));
    g->opening--;
    g->alive++;
    g->counts.opened++;
    if (g->scenario == CONNECT) {
        hist_record_since(g, c->since);
        client_begin_close(g, c);
    } else if (g->scenario == IDLE) {
        hist_record(g, g->now - c->since);
        if (g->send_once) {
            schedule_message(g, c, g->now);
            client_mark_dirty(g, c);
        }
    }
}

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

/* An open loop: the senders take turns. A message that is due on a lost client stays unsent. */
static void step_schedule(generator *g) {
    uint64_t due = due_by_now(g);
    if (due > g->due && g->now < g->until) note_lateness(g, due_at(g, g->due));
    for (; g->due < due; g->due++) {
        client *c = g->clients + g->due % g->senders;
        schedule_message(g, c, 0);
        if (c->state == OPEN) client_mark_dirty(g, c);
    }
}

void schedule_begin_echo(generator *g) {
    for (uint32_t i = 0; i < g->n; i++) {
        if (g->clients[i].state != OPEN) continue;
        for (uint32_t d = 0; d < g->depth; d++) schedule_message(g, g->clients + i, g->now);
        client_mark_dirty(g, g->clients + i);
    }
}

/* After a loss: count again who has received what. */
static void recount(generator *g) {
    g->recount = 0;
    if (g->scenario == FANOUT && g->complete) {
        memset(g->complete, 0, g->ring * sizeof *g->complete);
        for (uint32_t i = 0; i < g->n; i++) {
            client *c = g->clients + i;
            if (c->state == OPEN)
                for (uint64_t m = g->completed; m < c->received; m++) g->complete[m % g->ring]++;
        }
    }
    if (g->scenario == ROOM) {
        g->round_complete = 0;
        for (uint32_t i = 0; i < g->n; i++)
            if (g->clients[i].state == OPEN && g->clients[i].received >= g->round_size) g->round_complete++;
    }
}

/* No client has received anything for a second, so what is missing will not come: go on without it, and count it. */
static int give_up_if_stalled(generator *g) {
    if (g->now - g->progress_at < S) return 0;
    g->counts.stalls++;
    client_count_error(g, E_STALLED, 0);
    g->progress_at = g->now;
    g->given_up_at = g->now;
    return 1;
}

static client *next_sender(generator *g) {
    for (uint32_t i = 0; i < g->senders; i++) {
        client *c = g->clients + g->next_sender++ % g->senders;
        if (c->state == OPEN) return c;
    }
    return NULL;
}

/* A closed-loop fan-out: a message is outstanding until all clients have received it. */
static void step_window(generator *g) {
    while (g->completed < g->scheduled && g->complete[g->completed % g->ring] >= g->alive)
        g->complete[g->completed++ % g->ring] = 0;
    if (g->completed < g->scheduled && give_up_if_stalled(g)) {
        for (uint32_t i = 0; i < g->n; i++) g->clients[i].received = g->scheduled;
        memset(g->complete, 0, g->ring * sizeof *g->complete);
        g->completed = g->scheduled;
    }
    client *c;
    while (sending(g) && g->scheduled - g->completed < g->window && (c = next_sender(g))) {
        if (g->scheduled == g->completed) g->progress_at = g->now;
        schedule_message(g, c, g->now);
        g->scheduled++;
        if (g->to_others) count_delivery(g, c);
        client_mark_dirty(g, c);
    }
}

/* A room: all clients send. When all have received all, the next round begins; with a rate, when it is due. */
static void step_room(generator *g) {
    if (g->in_round && (g->round_complete >= g->alive || give_up_if_stalled(g))) {
        g->in_round = 0;
        if (g->round_complete >= g->alive) g->counts.rounds++;
    }
    if (g->in_round || !sending(g) || (g->interval > 0 && due_by_now(g) <= g->due)) return;
    g->round_at = g->interval > 0 ? due_at(g, g->due) : g->now;
    if (g->interval > 0) note_lateness(g, g->round_at);
    g->due++;
    g->in_round = 1;
    g->round_size = g->alive - (g->to_others != 0);
    g->round_complete = 0;
    g->progress_at = g->now;
    for (uint32_t i = 0; i < g->n; i++) {
        client *c = g->clients + i;
        c->received = 0;
        if (c->state != OPEN) continue;
        schedule_message(g, c, g->now);
        client_mark_dirty(g, c);
    }
}

/* Each free slot opens a new connection; with a rate, when one is due. */
static void step_connect(generator *g) {
    for (uint32_t i = 0; i < g->n && sending(g); i++) {
        client *c = g->clients + i;
        if (c->state != UNUSED) continue;
        if (g->interval > 0 && due_by_now(g) <= g->due) return;
        int64_t since = g->interval > 0 ? due_at(g, g->due) : g->now;
        if (g->interval > 0) note_lateness(g, since);
        g->due++;
        g->counts.scheduled++;
        client_connect(g, c, since);
    }
}

/* Begins what is due now. Returns the moment at which to look again at the latest. */
int64_t schedule_step(generator *g) {
    if (g->recount) recount(g);
    if (g->scenario == CONNECT) step_connect(g);
    else if (g->scenario == ROOM) step_room(g);
    else if (g->senders && g->interval > 0) step_schedule(g);
    else if (g->senders && g->scenario == FANOUT) step_window(g);
    int64_t wake = g->now + 100 * MS;
    if (g->interval > 0 && g->senders && g->now < g->until) {
        int64_t next = due_at(g, g->due);
        /* A round or a connection that is due and cannot begin yet waits for an event and not for the clock. */
        if (next < wake && (next > g->now || g->scenario == ECHO || g->scenario == FANOUT)) wake = next;
    }
    if (wake > g->from && g->now < g->from) wake = g->from;
    if (wake > g->until && g->now < g->until) wake = g->until;
    return wake;
}

/* All answers to what was sent are there. */
int schedule_drained(const generator *g) {
    if (g->scenario == ROOM) return !g->in_round;
    if (g->scenario == CONNECT) return g->opening == 0 && g->alive == 0;
    if (g->scenario == IDLE || g->alive == 0) return 1;
    if (!g->senders) return 0; /* this process does not know how much another one has sent */
    if (g->scenario == FANOUT && g->interval == 0) return g->completed == g->scheduled;
    uint64_t receivers = g->scenario == FANOUT ? g->alive - (g->to_others != 0) : 1;
    uint64_t expected = g->counts.scheduled * receivers;
    return g->counts.received >= expected;
}

/* Answers of an open loop that never came count with the age they have at the end of the run. */
void schedule_unanswered(generator *g) {
    if (g->scenario != ECHO || g->interval == 0) return;
    for (uint32_t i = 0; i < g->n; i++)
        for (client *c = g->clients + i; c->received < c->scheduled; c->received++, c->given_up++)
            hist_record_since(g, schedule_message_at(g, c, c->received));
}
