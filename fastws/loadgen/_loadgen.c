/* The Python type of the load generator's engine. _loadgen.h says what the other files do. */
#include "_loadgen.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

static const char *const COUNT_NAMES[COUNTS] = {"scheduled", "sent", "received", "other", "bytes_in", "rounds",
                                                "opened", "failed", "lost", "stalls", "late_ns", "pings",
                                                "foreign"};

/* The host is a numeric address. One of IPv6 may have a zone, which is a number too: fe80::1%2. */
static int set_address(endpoint *e, const char *host, int port) {
    char address[INET6_ADDRSTRLEN];
    size_t length = strcspn(host, "%");
    if (length >= sizeof address) length = sizeof address - 1;
    memcpy(address, host, length);
    address[length] = 0;
    struct sockaddr_in *v4 = (struct sockaddr_in *)&e->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&e->address;
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        e->address_len = sizeof *v4;
    } else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        if (host[length]) v6->sin6_scope_id = (uint32_t)strtoul(host + length + 1, NULL, 10);
        e->address_len = sizeof *v6;
    } else {
        PyErr_SetString(PyExc_ValueError, "not a numeric address");
        return -1;
    }
    return 0;
}

static int set_endpoints(generator *g, PyObject *list) {
    Py_ssize_t n = PyList_Size(list);
    if (n < 1) return PyErr_SetString(PyExc_ValueError, "no endpoint"), -1;
    g->endpoints = calloc(n, sizeof *g->endpoints);
    if (!g->endpoints) return PyErr_NoMemory(), -1;
    g->endpoints_len = (uint32_t)n;
    for (Py_ssize_t i = 0; i < n; i++) {
        const char *host, *name;
        int port;
        struct in6_addr numeric;
        endpoint *e = g->endpoints + i;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(list, i), "sis", &host, &port, &name)) return -1;
        if (set_address(e, host, port) < 0) return -1;
        e->server_is_ip = inet_pton(AF_INET, name, &numeric) == 1 || inet_pton(AF_INET6, name, &numeric) == 1;
        e->server_name = strdup(name);
        if (!e->server_name) return PyErr_NoMemory(), -1;
    }
    return 0;
}

static int set_handshakes(generator *g, PyObject *list) {
    Py_ssize_t n = PyList_Size(list);
    if (n < 1) return PyErr_SetString(PyExc_ValueError, "no handshake"), -1;
    g->handshakes = calloc(n, sizeof *g->handshakes);
    if (!g->handshakes) return PyErr_NoMemory(), -1;
    g->handshakes_len = (uint32_t)n;
    for (Py_ssize_t i = 0; i < n; i++) {
        const char *head, *accept;
        Py_ssize_t head_len, accept_len;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(list, i), "y#y#", &head, &head_len, &accept, &accept_len)) return -1;
        if (accept_len != 28) return PyErr_SetString(PyExc_ValueError, "an accept token has 28 bytes"), -1;
        g->handshakes[i].head = malloc(head_len);
        if (!g->handshakes[i].head) return PyErr_NoMemory(), -1;
        memcpy(g->handshakes[i].head, head, head_len);
        g->handshakes[i].head_len = head_len;
        memcpy(g->handshakes[i].accept, accept, 28);
    }
    return 0;
}

static int set_frames(generator *g, Py_buffer *frame) {
    g->frame_len = frame->len;
    g->batch = frame->len && frame->len < BATCH_SIZE ? BATCH_SIZE / frame->len : 1;
    g->frames = malloc(g->batch * g->frame_len + 1);
    if (!g->frames) return PyErr_NoMemory(), -1;
    for (size_t i = 0; i < g->batch; i++) memcpy(g->frames + i * g->frame_len, frame->buf, frame->len);
    return 0;
}

static int set_clients(generator *g) {
    g->clients = calloc(g->n, sizeof *g->clients);
    g->dirty = calloc(g->n, sizeof *g->dirty);
    g->buf = malloc(BUFFER_SIZE + CARRY_SIZE);
    g->inflated = g->deflate ? malloc(BUFFER_SIZE) : NULL;
    g->hist = calloc(2 * HIST_LEN, sizeof *g->hist);
    if (!g->clients || !g->dirty || !g->buf || !g->hist || (g->deflate && !g->inflated))
        return PyErr_NoMemory(), -1;
    g->hist_seen = g->hist + HIST_LEN;
    if (getrandom(&g->nonce_seed, sizeof g->nonce_seed, 0) != sizeof g->nonce_seed)
        return PyErr_SetFromErrno(PyExc_OSError), -1;
    for (uint32_t i = 0; i < g->n; i++) {
        g->clients[i].fd = -1;
        /* The first digit differs from client to client, for messages that have room for one digit only. */
        for (int d = 0; d < STAMP_DIGITS; d++)
            g->clients[i].nonce[d] = (uint8_t)STAMP_ALPHABET[(g->nonce_seed + i) >> 6 * d & 63];
        if (g->scenario != ECHO || g->interval > 0) continue;
        g->clients[i].scheduled_at = calloc(g->depth, sizeof(int64_t));
        if (!g->clients[i].scheduled_at) return PyErr_NoMemory(), -1;
    }
    if (g->scenario == FANOUT && g->interval == 0) {
        g->ring = g->window + 1;
        g->complete = calloc(g->ring, sizeof *g->complete);
        if (!g->complete) return PyErr_NoMemory(), -1;
    }
    return 0;
}

static int generator_init(generator *g, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"scenario", "endpoints", "handshakes", "frame", "clients", "senders", "depth",
                            "window", "rate", "phase", "size", "stamp_at", "stamp_mask", "separator", "deflate",
                            "send_once", "tls", "verify", "base", "limit", "to_others", "nonce_at",
                            "nonce_offset", "nonce_len", NULL};
    int scenario;
    PyObject *endpoints, *handshakes;
    Py_buffer frame = {0}, mask = {0};
    unsigned n, senders, depth, window;
    double rate, limit;
    long long size, base;
    if (g->clients) return PyErr_SetString(PyExc_RuntimeError, "already initialised"), -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iO!O!y*IIIIddLny*ippppLdp|nnn", names, &scenario, &PyList_Type,
                                     &endpoints, &PyList_Type, &handshakes, &frame, &n, &senders, &depth, &window, &rate,
                                     &g->phase, &size, &g->stamp_at, &mask, &g->separator, &g->deflate, &g->send_once,
                                     &g->tls, &g->verify, &base, &limit, &g->to_others,
                                     &g->nonce_at, &g->nonce_offset, &g->nonce_len))
        return -1;
    int result = -1;
    if (scenario < ECHO || scenario > IDLE || n < 1 || senders > n || depth < 1 || window < 1 || rate < 0 ||
        mask.len != STAMP_DIGITS || (g->stamp_at >= 0 && g->stamp_at + STAMP_DIGITS > frame.len) || g->nonce_len < 0 ||
        g->nonce_len > STAMP_DIGITS || g->nonce_at < 0 || g->nonce_at + g->nonce_len > frame.len ||
        g->nonce_offset < 0 || (g->nonce_len && (scenario != ECHO || g->nonce_offset + g->nonce_len > size))) {
        PyErr_SetString(PyExc_ValueError, "settings out of range");
        goto done;
    }
    g->scenario = scenario;
    g->n = n;
    g->senders = senders;
    g->depth = depth;
    g->window = window;
    g->interval = rate > 0 ? 1e9 / rate : 0;
    g->size = size;
    g->base = base;
    g->limit = (int64_t)(limit * 1e9);
    g->reads_content = g->stamp_at >= 0 || g->separator >= 0 || g->nonce_len > 0;
    memcpy(g->stamp_mask, mask.buf, STAMP_DIGITS);
    if (set_endpoints(g, endpoints) < 0 || set_handshakes(g, handshakes) < 0 || set_frames(g, &frame) < 0 ||
        set_clients(g) < 0 || (g->tls && tls_new_context(g) < 0) || (g->deflate && message_load_zlib() < 0))
        goto done;
    g->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (g->epfd < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        goto done;
    }
    result = 0;
done:
    PyBuffer_Release(&frame);
    PyBuffer_Release(&mask);
    return result;
}

static PyObject *generator_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    generator *g = (generator *)type->tp_alloc(type, 0);
    if (g) g->epfd = -1;
    return (PyObject *)g;
}

static void generator_dealloc(generator *g) {
    for (uint32_t i = 0; g->clients && i < g->n; i++) {
        if (g->clients[i].state != UNUSED) client_release(g, g->clients + i, 1);
        free(g->clients[i].scheduled_at);
    }
    for (uint32_t i = 0; g->handshakes && i < g->handshakes_len; i++) free(g->handshakes[i].head);
    if (g->epfd >= 0) close(g->epfd);
    tls_free_context(g);
    free(g->handshakes);
    free(g->clients);
    free(g->dirty);
    free(g->frames);
    free(g->buf);
    free(g->inflated);
    free(g->hist);
    free(g->complete);
    for (uint32_t i = 0; i < g->endpoints_len; i++) free(g->endpoints[i].server_name);
    free(g->endpoints);
    PyTypeObject *type = Py_TYPE(g);
    type->tp_free((PyObject *)g);
    Py_DECREF(type);
}

static int enter(generator *g) {
    if (g->epfd < 0) return PyErr_SetString(PyExc_RuntimeError, "not initialised"), -1;
    if (g->busy) return PyErr_SetString(PyExc_RuntimeError, "the generator runs already"), -1;
    g->busy = 1;
    return 0;
}

static PyObject *generator_open(generator *g, PyObject *args) {
    unsigned at_once;
    double ramp = 0;
    if (!PyArg_ParseTuple(args, "I|d", &at_once, &ramp) || enter(g) < 0) return NULL;
    Py_BEGIN_ALLOW_THREADS
    loop_open(g, at_once ? at_once : 1, (int64_t)(ramp * 1e9));
    Py_END_ALLOW_THREADS
    g->busy = 0;
    return PyLong_FromUnsignedLong(g->alive);
}

static PyObject *generator_run(generator *g, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"begin", "start", "end", "drain", "until_drained", NULL};
    long long begin, from, until;
    double drain;
    int until_drained;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "$LLLdp", names, &begin, &from, &until, &drain, &until_drained))
        return NULL;
    if (enter(g) < 0) return NULL;
    g->begin = begin;
    g->from = from;
    g->until = until;
    g->until_drained = until_drained;
    Py_BEGIN_ALLOW_THREADS
    loop_run(g, (int64_t)(drain * 1e9));
    Py_END_ALLOW_THREADS
    g->busy = 0;
    Py_RETURN_NONE;
}

static PyObject *generator_answer_pings(generator *g, PyObject *unused) {
    (void)unused;
    if (enter(g) < 0) return NULL;
    Py_BEGIN_ALLOW_THREADS
    loop_answer_pings(g);
    Py_END_ALLOW_THREADS
    g->busy = 0;
    Py_RETURN_NONE;
}

static PyObject *generator_close(generator *g, PyObject *args) {
    double patience;
    if (!PyArg_ParseTuple(args, "d", &patience) || enter(g) < 0) return NULL;
    Py_BEGIN_ALLOW_THREADS
    loop_close(g, (int64_t)(patience * 1e9));
    Py_END_ALLOW_THREADS
    g->busy = 0;
    Py_RETURN_NONE;
}

static PyObject *generator_stop(generator *g, PyObject *unused) {
    (void)unused;
    __atomic_store_n(&g->stop, 1, __ATOMIC_RELAXED);
    Py_RETURN_NONE;
}

static PyObject *counts_dict(const struct counts *counts, uint32_t alive) {
    PyObject *dict = PyDict_New();
    const uint64_t *values = (const uint64_t *)counts;
    for (int i = 0; dict && i <= COUNTS; i++) {
        uint64_t value = i < COUNTS ? __atomic_load_n(values + i, __ATOMIC_RELAXED) : alive;
        PyObject *number = PyLong_FromUnsignedLongLong(value);
        if (!number || PyDict_SetItemString(dict, i < COUNTS ? COUNT_NAMES[i] : "alive", number) < 0) Py_CLEAR(dict);
        Py_XDECREF(number);
    }
    return dict;
}

static PyObject *generator_counters(generator *g, PyObject *unused) {
    (void)unused;
    return counts_dict(&g->counts, __atomic_load_n(&g->alive, __ATOMIC_RELAXED));
}

static PyObject *snapshot_tuple(const struct snapshot *m) {
    return Py_BuildValue("NLLL", counts_dict(&m->counts, 0), (long long)m->wall, (long long)m->cpu,
                         (long long)m->waited);
}

static PyObject *generator_snapshots(generator *g, PyObject *unused) {
    (void)unused;
    return Py_BuildValue("NN", snapshot_tuple(&g->snapshot[0]), snapshot_tuple(&g->snapshot[1]));
}

static PyObject *generator_errors(generator *g, PyObject *unused) {
    (void)unused;
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < ERRORS && g->errors[i].count; i++) {
        PyObject *row = Py_BuildValue("IIK", g->errors[i].kind, g->errors[i].detail,
                                      (unsigned long long)g->errors[i].count);
        if (!row || PyList_Append(list, row) < 0) Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

static PyObject *generator_note(generator *g, PyObject *unused) {
    (void)unused;
    return PyUnicode_DecodeUTF8(g->note, strnlen(g->note, NOTE_SIZE), "replace");
}

static PyObject *generator_histogram(generator *g, PyObject *unused) {
    (void)unused;
    if (!g->hist) return PyBytes_FromStringAndSize(NULL, 0);
    return PyBytes_FromStringAndSize((const char *)g->hist, HIST_LEN * sizeof *g->hist);
}

static PyObject *generator_interval(generator *g, PyObject *unused) {
    (void)unused;
    struct hist_summary since;
    if (hist_interval(g, &since) < 0) return PyErr_NoMemory();
    return Py_BuildValue("KKKK", (unsigned long long)since.count, (unsigned long long)since.p50,
                         (unsigned long long)since.p99, (unsigned long long)since.max);
}

static PyMethodDef generator_methods[] = {
    {"open", (PyCFunction)generator_open, METH_VARARGS, "Open all clients; return how many are open"},
    {"run", (PyCFunction)(void (*)(void))generator_run, METH_VARARGS | METH_KEYWORDS, "Send and count"},
    {"answer_pings", (PyCFunction)generator_answer_pings, METH_NOARGS, "Answer pings that came between two runs"},
    {"close", (PyCFunction)generator_close, METH_VARARGS, "The closing handshake of all clients"},
    {"stop", (PyCFunction)generator_stop, METH_NOARGS, "End open() or run() soon; from any thread"},
    {"counters", (PyCFunction)generator_counters, METH_NOARGS, "The counts so far; from any thread"},
    {"snapshots", (PyCFunction)generator_snapshots, METH_NOARGS, "(counts, wall, cpu, waited), two of them"},
    {"errors", (PyCFunction)generator_errors, METH_NOARGS, "[(kind, detail, count)]"},
    {"note", (PyCFunction)generator_note, METH_NOARGS, "The first refusal, close or TLS failure"},
    {"histogram", (PyCFunction)generator_histogram, METH_NOARGS, "The counts of an HdrHistogram(1, 3600e9, 3)"},
    {"interval", (PyCFunction)generator_interval, METH_NOARGS, "(count, p50, p99, max) in ns since the last call"},
    {NULL, NULL, 0, NULL}};

static PyType_Slot generator_slots[] = {{Py_tp_new, generator_new},
                                        {Py_tp_init, generator_init},
                                        {Py_tp_dealloc, generator_dealloc},
                                        {Py_tp_methods, generator_methods},
                                        {Py_tp_doc, "N WebSocket clients in one epoll loop. See _loadgen.pyi."},
                                        {0, NULL}};

static PyType_Spec generator_spec = {.name = "fastws.loadgen._loadgen.Generator", .basicsize = sizeof(generator),
                                     .flags = Py_TPFLAGS_DEFAULT, .slots = generator_slots};

static int module_exec(PyObject *module) {
    message_init();
    PyObject *type = PyType_FromSpec(&generator_spec);
    if (!type || PyModule_AddObjectRef(module, "Generator", type) < 0) return Py_XDECREF(type), -1;
    Py_DECREF(type);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_loadgen",
                                    .m_doc = "The load generator's engine.", .m_slots = module_slots};

PyMODINIT_FUNC PyInit__loadgen(void) { return PyModuleDef_Init(&module); }
