/* The opening handshake (RFC 6455, section 4.1). */
#include "_loadgen.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

int upgrade_send_request(generator *g, client *c) {
    c->state = UPGRADING;
    c->handshake = (uint32_t)((c - g->clients) % g->handshakes_len);
    c->out = g->handshakes[c->handshake].head;
    c->out_len = g->handshakes[c->handshake].head_len;
    return client_flush(g, c);
}

/* TCP has connected, or failed to. */
int upgrade_connected(generator *g, client *c) {
    int error = 0;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
    if (error) return client_fail(g, c, E_CONNECT, error);
    return g->tls ? tls_start(g, c) : upgrade_send_request(g, c);
}

/* The value of a header, without spaces around it, in a head that ends with an empty line. NULL: it is not there. */
static const char *header_value(const char *head, const char *name, size_t *len) {
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

/* `head` is a whole response head and a NUL. */
static int check_response(generator *g, client *c, const char *head) {
    int status = 0;
    size_t n = 0;
    if (sscanf(head, "HTTP/1.%*1d %3d", &status) != 1) return client_fail(g, c, E_UPGRADE, 0);
    if (status != 101) {
        client_keep_note(g, head, strcspn(head, "\r\n"));
        return client_fail(g, c, E_REFUSED, (uint32_t)status);
    }
    const char *value = header_value(head, "Upgrade", &n);
    if (!contains(value, n, "websocket")) return client_fail(g, c, E_UPGRADE, 1);
    value = header_value(head, "Connection", &n);
    if (!contains(value, n, "upgrade")) return client_fail(g, c, E_UPGRADE, 2);
    value = header_value(head, "Sec-WebSocket-Accept", &n);
    if (!value || n != 28 || memcmp(value, g->handshakes[c->handshake].accept, 28))
        return client_fail(g, c, E_UPGRADE, 3);
    value = header_value(head, "Sec-WebSocket-Extensions", &n);
    if (value && !g->deflate) return client_fail(g, c, E_UPGRADE, 4);
    if (g->deflate && !contains(value, n, "permessage-deflate")) return client_fail(g, c, E_DEFLATE, 0);
    c->fresh_window = contains(value, n, "server_no_context_takeover");
    schedule_opened(g, c);
    return 0;
}

/* Bytes of the response. What follows its head are frames. */
int upgrade_read(generator *g, client *c, const uint8_t *p, size_t n) {
    if (!c->head && !(c->head = malloc(HEAD_SIZE + 1))) return client_fail(g, c, E_UPGRADE, 0);
    size_t before = c->head_len, fits = HEAD_SIZE - before < n ? HEAD_SIZE - before : n;
    memcpy(c->head + before, p, fits);
    c->head_len += fits;
    uint8_t *end = memmem(c->head, c->head_len, "\r\n\r\n", 4);
    if (!end) return c->head_len == HEAD_SIZE ? client_fail(g, c, E_UPGRADE, 5) : 0;
    size_t used = (size_t)(end + 4 - c->head) - before;
    end[4] = 0;
    if (check_response(g, c, (char *)c->head) < 0) return -1;
    free(c->head);
    c->head = NULL;
    return frames_read(g, c, p + used, p + n);
}
