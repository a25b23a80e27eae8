/* Latencies, in HdrHistogram's own layout: 1 ns to 1 h with three significant digits. */
#include "_loadgen.h"

static const uint64_t HIST_MAX = 3600ull * 1000000000ull;

void hist_record(generator *g, int64_t ns) {
    uint64_t v = ns < 0 ? 0 : (uint64_t)ns;
    if (v > HIST_MAX) v = HIST_MAX;
    int bucket = 63 - __builtin_clzll(v | (2 * HIST_HALF - 1)) - HIST_HALF_BITS;
    g->hist[(bucket << HIST_HALF_BITS) + (v >> bucket)]++;
}

/* `since`: when the message was due, or sent. A closed loop counts what arrives in the measured time. An open loop
 * counts what was due in it, so that an answer that comes late counts with all its lateness. */
void hist_record_since(generator *g, int64_t since) {
    int64_t counted_at = g->interval > 0 ? since : g->now;
    if (counted_at >= g->from && (counted_at < g->until || g->until_drained)) hist_record(g, g->now - since);
}

/* The highest value that falls into a slot: HdrHistogram reports percentiles so. */
static uint64_t slot_value(int slot) {
    int bucket = (slot >> HIST_HALF_BITS) - 1;
    if (bucket < 0) return slot;
    uint64_t sub = (slot & (HIST_HALF - 1)) + HIST_HALF;
    return ((sub + 1) << bucket) - 1;
}

/* What was recorded since the last call, in ns. -1: no memory. The loop may record meanwhile, in its thread. */
int hist_interval(generator *g, struct hist_summary *summary) {
    uint64_t seen = 0, *fresh = malloc(HIST_LEN * sizeof *fresh);
    *summary = (struct hist_summary){0};
    if (!fresh || !g->hist) return free(fresh), -1;
    for (int i = 0; i < HIST_LEN; i++) {
        uint64_t value = __atomic_load_n(g->hist + i, __ATOMIC_RELAXED);
        summary->count += fresh[i] = value - g->hist_seen[i];
        g->hist_seen[i] = value;
    }
    for (int i = 0; i < HIST_LEN && summary->count; i++) {
        if (!fresh[i]) continue;
        seen += fresh[i];
        summary->max = slot_value(i);
        if (!summary->p50 && seen * 2 >= summary->count) summary->p50 = summary->max;
        if (!summary->p99 && seen * 100 >= summary->count * 99) summary->p99 = summary->max;
    }
    free(fresh);
    return 0;
}
