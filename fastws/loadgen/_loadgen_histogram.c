/* Latencies, in HdrHistogram's own layout: 1 ns to 1 h with three significant digits. */
#include "_loadgen.h"

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
