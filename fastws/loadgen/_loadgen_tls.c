/* TLS by OpenSSL's libssl, which is looked for at run time. It is on every machine where Python's own ssl is. It is
 * not linked, so the module builds without its headers, and a wheel carries no copy of it. */
#include "_loadgen.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

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

enum { SSL_ERROR_WANT_READ = 2, SSL_ERROR_WANT_WRITE = 3, SSL_ERROR_SYSCALL = 5, SSL_ERROR_ZERO_RETURN = 6,
       SSL_CTRL_MODE = 33, SSL_CTRL_SET_TLSEXT_HOSTNAME = 55, SSL_VERIFY_PEER = 1,
       SSL_MODE_PARTIAL_WRITE_MOVING_BUFFER = 3 };

/* Fills `table` from the first of `libraries` that has all of `names`. Needs the GIL; where no library has them it
 * sets an OSError with the text `missing`. */
int load_library(const char *const *libraries, const char *const *names, void **table, const char *missing) {
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
    PyErr_Format(PyExc_OSError, "%s", missing);
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

int tls_new_context(generator *g) {
    if (load_ssl() < 0) return -1;
    g->ctx = ssl.SSL_CTX_new(ssl.TLS_client_method());
    if (!g->ctx) return PyErr_NoMemory(), -1;
    ssl.SSL_CTX_ctrl(g->ctx, SSL_CTRL_MODE, SSL_MODE_PARTIAL_WRITE_MOVING_BUFFER, NULL);
    if (!g->verify) return 0;
    ssl.SSL_CTX_set_default_verify_paths(g->ctx);
    ssl.SSL_CTX_set_verify(g->ctx, SSL_VERIFY_PEER, NULL);
    return 0;
}

void tls_free_context(generator *g) {
    if (g->ctx) ssl.SSL_CTX_free(g->ctx);
}

/* The handshake of a client whose TCP connection is there; `tls_handshake` goes on with it. */
int tls_start(generator *g, client *c) {
    const endpoint *to = endpoint_of(g, c);
    c->state = TLS_HANDSHAKE;
    c->ssl = ssl.SSL_new(g->ctx);
    if (!c->ssl || !ssl.SSL_set_fd(c->ssl, c->fd)) return client_fail(g, c, E_TLS, 0);
    if (!to->server_is_ip) ssl.SSL_ctrl(c->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0, to->server_name);
    if (g->verify) {
        int named = to->server_is_ip ? ssl.X509_VERIFY_PARAM_set1_ip_asc(ssl.SSL_get0_param(c->ssl), to->server_name)
                                     : ssl.SSL_set1_host(c->ssl, to->server_name);
        if (!named) return client_fail(g, c, E_TLS, 0);
    }
    return 0;
}

static int fail(generator *g, client *c, int result) {
    int error = ssl.SSL_get_error(c->ssl, result), system = errno;
    unsigned long code = ssl.ERR_get_error();
    long verified = ssl.SSL_get_verify_result(c->ssl);
    const char *why = g->verify && verified ? ssl.X509_verify_cert_error_string(verified)
                      : code ? ssl.ERR_reason_error_string(code) : NULL;
    if (why && c->state == TLS_HANDSHAKE) client_keep_note(g, why, strlen(why));
    ssl.ERR_clear_error();
    if (c->state != TLS_HANDSHAKE) {
        if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SYSCALL && !system))
            return client_fail(g, c, E_EOF, 0);
        if (error == SSL_ERROR_SYSCALL) return client_fail(g, c, E_SOCKET, system);
    }
    return client_fail(g, c, E_TLS, 0);
}

/* The socket is readable or writable. */
int tls_handshake(generator *g, client *c) {
    errno = 0;
    int result = ssl.SSL_connect(c->ssl);
    if (result == 1) return upgrade_send_request(g, c);
    int error = ssl.SSL_get_error(c->ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return fail(g, c, result);
    client_watch(g, c, error == SSL_ERROR_WANT_WRITE);
    return 0;
}

/* Both return how many bytes were moved; 0: not now; -1: the client is gone. */
ssize_t tls_send(generator *g, client *c, const uint8_t *p, size_t n) {
    errno = 0;
    int sent = ssl.SSL_write(c->ssl, p, n > 1 << 30 ? 1 << 30 : (int)n);
    if (sent > 0) return sent;
    int error = ssl.SSL_get_error(c->ssl, sent);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : fail(g, c, sent);
}

ssize_t tls_recv(generator *g, client *c, uint8_t *p, size_t n) {
    errno = 0;
    int got = ssl.SSL_read(c->ssl, p, (int)n);
    if (got > 0) return got;
    int error = ssl.SSL_get_error(c->ssl, got);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : fail(g, c, got);
}

void tls_release(client *c) {
    if (!c->ssl) return;
    if (c->state >= OPEN) ssl.SSL_shutdown(c->ssl);
    ssl.SSL_free(c->ssl);
    ssl.ERR_clear_error();
}
