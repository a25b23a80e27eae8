/* Received frames (RFC 6455, section 5.2). A server never masks them. */
#include "_loadgen.h"

#include <stdio.h>
#include <string.h>

static int read_control_frame(generator *g, client *c, uint8_t opcode, const uint8_t *payload, uint8_t n) {
    if (opcode == 9) {
        g->counts.pings++;
        if (c->state == OPEN) {
            client_put_control(c, 10, payload, n);
            client_mark_dirty(g, c);
        }
    }
    if (opcode != 8) return 0;
    uint32_t code = n >= 2 ? payload[0] << 8 | payload[1] : 1005;
    if (c->state == OPEN) { /* the server closes first: answer it, and count an error */
        char note[140];
        if (n > 2) client_keep_note(g, note, sprintf(note, "%u %.*s", code, n - 2, (const char *)payload + 2));
        if (!c->out_len) {
            client_put_control(c, 8, payload, n >= 2 ? 2 : 0);
            if (client_flush(g, c) < 0) return -1;
        }
        return client_fail(g, c, E_CLOSED, code);
    }
    if (g->scenario != CONNECT) return 0; /* the server ends TCP (RFC 6455, section 7.1.1) */
    client_release(g, c, 1);
    return -1;
}

/* Reads all of p..end. `carry` keeps a header or a control frame that is not complete. -1: the client is gone. */
int frames_read(generator *g, client *c, const uint8_t *p, const uint8_t *end) {
    while (p < end) {
        /* 1. the rest of a frame's payload */
        if (c->left) {
            size_t n = (uint64_t)(end - p) < c->left ? (size_t)(end - p) : (size_t)c->left;
            if (message_bytes(g, c, p, n) < 0) return client_fail(g, c, E_PROTOCOL, 1007);
            p += n;
            c->left -= n;
            if (c->left) return 0;
            if (c->fin && message_end(g, c) < 0) return client_fail(g, c, E_PROTOCOL, 1007);
            continue;
        }
        /* 2. a small whole message, which is nearly every frame there is */
        size_t here = (size_t)(end - p);
        if (here >= 2 && p[1] < 126 && here >= 2u + p[1] && (p[0] == 0x81 || p[0] == 0x82) && !c->in_message) {
            if (g->reads_content) message_whole(g, c, p + 2, p[1]);
            else schedule_received(g, c, p[1], -1);
            p += 2 + p[1];
            continue;
        }
        /* 3. the header */
        size_t head = here < 2 || p[1] < 126 ? 2 : p[1] == 126 ? 4 : 10;
        int control = p[0] & 8, opcode = p[0] & 15;
        if (here >= 2 && p[1] & 0x80) return client_fail(g, c, E_PROTOCOL, 1002);
        if (control && here >= 2) {
            if (p[1] > 125) return client_fail(g, c, E_PROTOCOL, 1002);
            head += p[1];
        }
        if (here < head) {
            memcpy(c->carry, p, here);
            c->carry_len = (uint8_t)here;
            return 0;
        }
        if (control) {
            if (read_control_frame(g, c, opcode, p + 2, p[1]) < 0) return -1;
            p += head;
            continue;
        }
        uint64_t length = p[1];
        if (head == 4) length = (uint64_t)p[2] << 8 | p[3];
        if (head == 10) {
            memcpy(&length, p + 2, 8);
            length = __builtin_bswap64(length);
        }
        /* 4. is it allowed here? */
        int rsv1 = p[0] & 0x40;
        if (p[0] & 0x30 || opcode > 2 || (opcode == 0) != c->in_message || (rsv1 && (!g->deflate || opcode == 0)))
            return client_fail(g, c, E_PROTOCOL, 1002);
        if (opcode && message_begin(c, rsv1 != 0) < 0) return client_fail(g, c, E_PROTOCOL, 1011);
        c->fin = p[0] >> 7;
        c->left = length;
        p += head;
        if (!length && c->fin && message_end(g, c) < 0) return client_fail(g, c, E_PROTOCOL, 1007);
    }
    return 0;
}
