/* What is inside received messages: stamps, nonces, several messages merged into one, compressed content.
 *
 * A stamp is a mark and eight digits of the alphabet: the moment at which the message was due. Compressed messages are
 * looked into with libz, which is looked for at run time as libssl is (_loadgen_tls.c). */
#include "_loadgen.h"

#include <string.h>

const char STAMP_MARK = '~';
const char STAMP_ALPHABET[65] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
static uint8_t digit_value[256]; /* 255: not of the alphabet */

struct z_stream_s { /* zlib's own; its layout is part of the ABI (zlib.h) */
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
};

static struct {
    int (*inflateInit2_)(z_stream *, int, const char *, int);
    int (*inflate)(z_stream *, int);
    int (*inflateReset)(z_stream *);
    int (*inflateEnd)(z_stream *);
    const char *(*zlibVersion)(void);
} zlib;

enum { Z_SYNC_FLUSH = 2, Z_OK = 0, Z_STREAM_END = 1, Z_BUF_ERROR = -5 };

void message_init(void) {
    memset(digit_value, 255, sizeof digit_value);
    for (int i = 0; i < 64; i++) digit_value[(uint8_t)STAMP_ALPHABET[i]] = (uint8_t)i;
}

int message_load_zlib(void) {
    static const char *const libraries[] = {"libz.so.1", NULL};
    static const char *const names[] = {"inflateInit2_", "inflate", "inflateReset", "inflateEnd", "zlibVersion", NULL};
    return load_library(libraries, names, (void **)&zlib, "--deflate needs libz.so.1, not found");
}

/* Looks for the mark and its digits anywhere in a part, also where reads have cut them: a server may put a name before
 * a message. */
static void scan_stamp(client *c, const uint8_t *p, const uint8_t *end) {
    while (p < end && c->digits <= STAMP_DIGITS) {
        if (c->digits == 0) {
            p = memchr(p, STAMP_MARK, end - p);
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

/* The moment that a stamp names; -1: this run cannot have made it. */
static int64_t stamp_moment(const generator *g, uint64_t v) {
    int64_t at = g->base + (int64_t)v;
    return at >= g->base && at <= g->now + S ? at : -1;
}

/* Compares the nonce in a part with this client's own, also where reads have cut it. */
static void compare_nonce(const generator *g, client *c, const uint8_t *p, size_t n) {
    for (; c->digits < g->nonce_len; c->digits++) {
        uint64_t at = (uint64_t)g->nonce_offset + c->digits;
        if (at < c->length || at - c->length >= n || p[at - c->length] != c->nonce[c->digits]) return;
    }
}

static void part_ends(generator *g, client *c) {
    int64_t stamp = c->digits > STAMP_DIGITS ? stamp_moment(g, c->stamp) : -1;
    if (g->nonce_len) stamp = c->digits == g->nonce_len ? 0 : -1;
    int64_t length = (int64_t)c->length;
    c->length = 0;
    c->digits = 0;
    schedule_received(g, c, length, stamp);
}

static void part_bytes(generator *g, client *c, const uint8_t *p, const uint8_t *end) {
    if (g->nonce_len) compare_nonce(g, c, p, end - p);
    c->length += end - p;
    if (g->stamp_at >= 0 && c->digits <= STAMP_DIGITS) scan_stamp(c, p, end);
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

/* RFC 7692, section 7.2.2. -1: the bytes are not deflate. */
static int inflate_bytes(generator *g, client *c, const uint8_t *p, size_t n) {
    z_stream *z = c->z;
    z->next_in = p;
    z->avail_in = (unsigned)n;
    for (;;) {
        z->next_out = g->inflated;
        z->avail_out = BUFFER_SIZE;
        int result = zlib.inflate(z, Z_SYNC_FLUSH);
        text_bytes(g, c, g->inflated, z->next_out);
        if (result == Z_STREAM_END) zlib.inflateReset(z);
        else if (result == Z_BUF_ERROR) return 0;
        else if (result != Z_OK) return -1;
        if (!z->avail_in && z->avail_out) return 0;
    }
}

/* The first frame of a message; then its bytes as they come, and its end. -1: it cannot be decompressed. */
int message_begin(client *c, int compressed) {
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

int message_bytes(generator *g, client *c, const uint8_t *p, size_t n) {
    if (c->compressed) return c->inflates ? inflate_bytes(g, c, p, n) : 0;
    if (g->reads_content) text_bytes(g, c, p, p + n);
    else c->length += n;
    return 0;
}

int message_end(generator *g, client *c) {
    static const uint8_t tail[4] = {0, 0, 0xff, 0xff};
    c->in_message = 0;
    if (c->compressed && !c->inflates) {
        schedule_received(g, c, -1, -1);
        return 0;
    }
    if (c->compressed && inflate_bytes(g, c, tail, 4) < 0) return -1;
    part_ends(g, c);
    return 0;
}

/* The usual case in one step: an uncompressed message of which all bytes are here, and which is looked into. */
void message_whole(generator *g, client *c, const uint8_t *p, size_t n) {
    if (g->separator < 0 && g->nonce_len) {
        int own = (int64_t)n == g->size && !memcmp(p + g->nonce_offset, c->nonce, g->nonce_len);
        schedule_received(g, c, (int64_t)n, own ? 0 : -1);
        return;
    }
    if (g->separator < 0 && n > STAMP_DIGITS && p[0] == STAMP_MARK) {
        uint64_t v = 0;
        uint8_t bad = 0;
        for (int i = 1; i <= STAMP_DIGITS; i++) {
            bad |= digit_value[p[i]];
            v = v << 6 | (digit_value[p[i]] & 63);
        }
        if (bad < 64) {
            schedule_received(g, c, (int64_t)n, stamp_moment(g, v));
            return;
        }
    }
    c->length = 0;
    c->digits = 0;
    text_bytes(g, c, p, p + n);
    part_ends(g, c);
}

void message_release(client *c) {
    if (c->z) zlib.inflateEnd(c->z);
    free(c->z);
}
