/* The C engine: WebSocket frames to events, and payloads to frames (RFC 6455, section 5).
 *
 * The twin of engine_wsproto.py: the same input gives the same events, codes and bytes, wherever it
 * is cut; tests/protocol hold both to it. Functions of bytes only: no I/O, no clock, no logging.
 *
 * Memory: a Reader between two messages owns nothing but its struct. An incomplete header or
 * control frame (at most 131 bytes) waits in `stash`. An incomplete message grows in `message`, by
 * what has arrived and never by what was announced; it becomes the event itself, without a copy.
 *
 * Lengths: a 64-bit length is compared with the limit by a subtraction that cannot overflow, before
 * it takes part in any other arithmetic. Past that check all sizes fit in Py_ssize_t.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../_bytes.h"

/* Section 5.2: FIN, RSV and opcode in the first byte; MASK and a 7-bit length in the second. */
enum { FIN = 0x80, RSV1 = 0x40, RSV = 0x70, OPCODE = 0x0F, MASKED = 0x80, LENGTH = 0x7F };
enum { CONTINUATION = 0x0, TEXT = 0x1, BINARY = 0x2, CLOSE = 0x8, PING = 0x9, PONG = 0xA };
enum { MAX_CONTROL = 125, MAX_STASH = 2 + 4 + MAX_CONTROL };

#define IS_KNOWN(opcode) ((1 << (opcode)) & (1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 9 | 1 << 10))
#define IS_CONTROL(opcode) ((opcode) & 0x8)

/* Classes of fastws.protocol.websocket.events and .deflate. */
static PyObject *Ping, *Pong, *Close, *Fail, *InflateError;

typedef struct {
    PyObject_HEAD
    PyObject *inflate;      /* NULL: no frame may carry RSV1 */
    PyObject *message;      /* a str or bytes not yet seen by anyone, longer than `size` */
    uint8_t *stash;         /* NULL: no incomplete header or control frame */
    uint64_t max_size;
    uint64_t size;          /* bytes of the message so far */
    uint64_t remaining;     /* bytes of the frame still to come, when in_frame */
    uint32_t max_fragments, max_empty;
    uint32_t fragments;     /* frames of the message so far; 0: no message */
    uint32_t empty;         /* empty ones in a row */
    uint8_t mask[4];        /* rotated to the next byte to come */
    uint8_t stash_size;
    uint8_t opcode;         /* of the message */
    Utf8 utf8;
    uint8_t client : 1, ended : 1, busy : 1, in_frame : 1, fin : 1, compressed : 1, ascii : 1;
} Reader;

typedef struct {
    uint64_t length;
    size_t size;            /* of the header; after SHORT: how many bytes of the frame are needed */
    uint8_t opcode, fin, rsv1;
    uint8_t mask[4];
} Header;

/* OK: go on. SHORT: more bytes are needed. ENDED: a Close or Fail is in the list. ERROR: exception. */
typedef enum { OK, SHORT, ENDED, ERROR } Status;

/* ---- events ----------------------------------------------------------------------------------- */

static void
drop_stash(Reader *self)
{
    PyMem_Free(self->stash);
    self->stash = NULL;
    self->stash_size = 0;
}

static void
end(Reader *self)
{
    self->ended = 1;
    drop_stash(self);
    Py_CLEAR(self->message);
}

/* Append a new reference, which may be NULL with an exception set. */
static inline Status
append(PyObject *events, PyObject *event)
{
    if (event == NULL)
        return ERROR;
    int failed = PyList_Append(events, event);
    Py_DECREF(event);
    return failed ? ERROR : OK;
}

/* Section 7.1.7. The words are ours and constant. */
static Status
fail(Reader *self, PyObject *events, int code, const char *reason)
{
    end(self);
    return append(events, PyObject_CallFunction(Fail, "is", code, reason)) == OK ? ENDED : ERROR;
}

/* Append a complete message, a new reference; or fail if it could not be decoded. */
static inline Status
deliver(Reader *self, PyObject *events, PyObject *message)
{
    if (message == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return fail(self, events, 1007, "invalid UTF-8");
    }
    return append(events, message);
}

/* Section 7.4: the codes that may stand in a close frame. */
static int
is_sendable(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1013) || (code >= 3000 && code <= 4999);
}

/* Section 5.5.1. `payload` is unmasked. */
static Status
take_close(Reader *self, PyObject *events, const uint8_t *payload, size_t n)
{
    unsigned code = 1005;
    PyObject *number, *reason, *event;
    Status status;

    if (n == 1)
        return fail(self, events, 1002, "close frame of one byte");
    if (n >= 2) {
        code = (unsigned)big_endian(payload, 2);
        if (!is_sendable(code))
            return fail(self, events, 1002, "invalid close code");
    }
    reason = n <= 2 ? PyUnicode_New(0, 0)
                    : PyUnicode_DecodeUTF8((const char *)payload + 2, (Py_ssize_t)n - 2, NULL);
    if (reason == NULL)
        return deliver(self, events, NULL);
    number = PyLong_FromUnsignedLong(code);
    event = number == NULL ? NULL : PyObject_Vectorcall(Close, (PyObject *[]){number, reason}, 2, NULL);
    Py_XDECREF(number);
    Py_DECREF(reason);
    status = append(events, event);
    end(self);
    return status == OK ? ENDED : ERROR;
}

/* Section 5.5: a whole control frame. */
static Status
take_control(Reader *self, PyObject *events, const Header *h, const uint8_t *payload)
{
    uint8_t bytes[MAX_CONTROL];
    PyObject *copy, *event;

    copy_masked(bytes, payload, h->length, h->mask);
    if (h->opcode == CLOSE)
        return take_close(self, events, bytes, h->length);
    copy = PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)h->length);
    if (copy == NULL)
        return ERROR;
    event = PyObject_CallOneArg(h->opcode == PING ? Ping : Pong, copy);
    Py_DECREF(copy);
    return append(events, event);
}

/* ---- messages --------------------------------------------------------------------------------- */

/* A text grows in a str that will be the event if it turns out to be ASCII; all else in bytes. */
static inline int
is_text(const Reader *self)
{
    return self->opcode == TEXT && !self->compressed;
}

/* Deflate can make data grow: fixed codes by an eighth, stored blocks by some bytes each. */
static inline uint64_t
size_limit(uint64_t max_size, int compressed)
{
    return compressed ? max_size + (max_size >> 3) + 1024 : max_size;
}

/* glibc maps each block from 128 KiB up and unmaps it again, until it has seen one of that size go; from then on it
 * keeps twice the size of the largest. Show it one before the first large message: otherwise two of 1 MiB are
 * already more than it keeps, and every message is made of new pages. Nothing is written to the block, and where
 * thresholds were set (mallopt, fastws/server/memory.py) this changes none. Python's allocator is not asked: it would count
 * the block. */
enum { LARGE = 128 * 1024, SHOWN = 4 * 1024 * 1024 };

static void
show_large_block(void)
{
    static int shown;

    if (!shown) {
        void *volatile block = malloc(SHOWN);  /* volatile: a compiler may leave the pair out */

        shown = 1;
        free(block);
    }
}

/* Of what there is of the message. */
static inline uint64_t
capacity_of(const Reader *self)
{
    return is_text(self) ? (uint64_t)PyUnicode_GET_LENGTH(self->message) : (uint64_t)PyBytes_GET_SIZE(self->message);
}

/* Make room for `n` bytes that are here: sixteen times what has come, up to what the message can still
 * become. So 1 MiB that comes in reads of 64 KiB is never moved, who only announces it is given nothing,
 * and pages that nothing has been written to cost nobody memory. */
static int
reserve(Reader *self, size_t n)
{
    uint64_t wanted = self->size + n, bound, grown;

    if (wanted <= (self->message == NULL ? 0 : capacity_of(self)))
        return 0;
    bound = self->fin ? self->size + self->remaining : size_limit(self->max_size, self->compressed);
    grown = wanted * 16 < bound ? wanted * 16 : bound;
    if (grown >= LARGE)
        show_large_block();
    if (self->message == NULL) {
        self->message = is_text(self) ? PyUnicode_New((Py_ssize_t)grown, 127)
                                      : PyBytes_FromStringAndSize(NULL, (Py_ssize_t)grown);
        return self->message == NULL ? -1 : 0;
    }
    if (is_text(self))
        return PyUnicode_Resize(&self->message, (Py_ssize_t)grown);
    return _PyBytes_Resize(&self->message, (Py_ssize_t)grown);
}

/* Take `message` over from the reader, in its true size. */
static PyObject *
take_message(Reader *self)
{
    PyObject *message = self->message;
    Py_ssize_t size = (Py_ssize_t)self->size;

    self->message = NULL;
    if (message == NULL)
        return is_text(self) ? PyUnicode_New(0, 0) : PyBytes_FromStringAndSize(NULL, 0);
    if (!is_text(self)) {
        (void)_PyBytes_Resize(&message, size);  /* NULL on failure */
        return message;
    }
    if (self->ascii) {
        if (PyUnicode_Resize(&message, size) < 0) {
            Py_CLEAR(message);
        }
        return message;
    }
    /* Each byte was valid where it stood: only the last character may be missing its end. */
    PyObject *text = PyUnicode_DecodeUTF8(PyUnicode_DATA(message), size, NULL);
    Py_DECREF(message);
    return text;
}

/* The close code of the InflateError that is set, and clear it; -1: another exception is set. */
static int
inflate_error(void)
{
    PyObject *error, *value;
    long code;

    if (!PyErr_ExceptionMatches(InflateError))
        return -1;
#if PY_VERSION_HEX >= 0x030C0000
    error = PyErr_GetRaisedException();
#else
    PyObject *type, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
#endif
    value = PyObject_GetAttrString(error, "code");
    Py_DECREF(error);
    if (value == NULL)
        return -1;
    code = PyLong_AsLong(value);
    Py_DECREF(value);
    return (int)code;
}

/* RFC 7692, section 7.2.2. Steals `payload`. */
static Status
deliver_inflated(Reader *self, PyObject *events, PyObject *payload)
{
    PyObject *message, *text;

    message = PyObject_CallFunction(self->inflate, "NK", payload, (unsigned long long)self->max_size);
    if (message == NULL) {
        int code = inflate_error();
        if (code < 0)
            return ERROR;
        return fail(self, events, code, code == 1009 ? "message too big" : "invalid deflate data");
    }
    if (!PyBytes_Check(message)) {
        PyErr_Format(PyExc_TypeError, "inflate() must return bytes, not %.100s", Py_TYPE(message)->tp_name);
        Py_DECREF(message);
        return ERROR;
    }
    if (self->opcode != TEXT)
        return append(events, message);
    text = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message), NULL);
    Py_DECREF(message);
    return deliver(self, events, text);
}

static Status
finish_message(Reader *self, PyObject *events)
{
    PyObject *message = take_message(self);

    self->fragments = 0;
    self->empty = 0;
    self->size = 0;
    if (self->compressed && message != NULL)
        return deliver_inflated(self, events, message);
    return deliver(self, events, message);
}

static inline uint8_t *
payload_of(Reader *self)
{
    return is_text(self) ? PyUnicode_DATA(self->message) : (uint8_t *)PyBytes_AS_STRING(self->message);
}

/* `n` bytes of the frame's payload, possibly none, have come to where the message ends so far; the frame may end
 * with them. `other`: one of them is not ASCII, if this is a text. */
static Status
took_payload(Reader *self, PyObject *events, size_t n, int other)
{
    if (is_text(self) && n && (other || self->utf8.need)) {
        self->ascii = 0;
        if (!utf8_feed(&self->utf8, payload_of(self) + self->size, n))
            return fail(self, events, 1007, "invalid UTF-8");
    }
    self->size += n;
    self->remaining -= n;
    if (self->remaining)
        return OK;
    self->in_frame = 0;
    return self->fin ? finish_message(self, events) : OK;
}

/* As much of the frame's payload as is there. */
static Status
take_payload(Reader *self, PyObject *events, const uint8_t **at, const uint8_t *stop)
{
    size_t there = (size_t)(stop - *at);
    size_t n = self->remaining < there ? (size_t)self->remaining : there;
    int other = 0;

    if (n) {
        if (reserve(self, n) < 0)
            return ERROR;
        other = copy_masked(payload_of(self) + self->size, *at, n, self->mask);
        uint64_t rotated = mask_word(self->mask, n);
        memcpy(self->mask, &rotated, 4);
        *at += n;
    }
    return took_payload(self, events, n, other);
}

/* A whole text or binary message in one frame: the common case. */
static inline PyObject *
whole_message(const Header *h, const uint8_t *payload)
{
    Py_ssize_t n = (Py_ssize_t)h->length;
    PyObject *message, *text;

    if (h->opcode == BINARY) {
        message = PyBytes_FromStringAndSize(NULL, n);
        if (message != NULL) {
            copy_masked((uint8_t *)PyBytes_AS_STRING(message), payload, (size_t)n, h->mask);
        }
        return message;
    }
    message = PyUnicode_New(n, n ? 127 : 0);
    if (message == NULL || !copy_masked(PyUnicode_DATA(message), payload, (size_t)n, h->mask))
        return message;
    text = PyUnicode_DecodeUTF8(PyUnicode_DATA(message), n, NULL);
    Py_DECREF(message);
    return text;
}

/* A data frame whose header was accepted; its payload begins at *at. */
static Status
take_data(Reader *self, PyObject *events, const Header *h, const uint8_t **at, const uint8_t *stop)
{
    if (h->fin && h->opcode != CONTINUATION && !h->rsv1 && h->length <= (uint64_t)(stop - *at)) {
        PyObject *message = whole_message(h, *at);
        *at += h->length;
        return deliver(self, events, message);
    }
    if (h->opcode != CONTINUATION) {
        self->opcode = h->opcode;
        self->compressed = h->rsv1;
        self->ascii = 1;
    }
    self->fragments++;
    self->empty = h->length ? 0 : self->empty + 1;
    self->in_frame = 1;
    self->fin = h->fin;
    self->remaining = h->length;
    memcpy(self->mask, h->mask, 4);
    return take_payload(self, events, at, stop);
}

/* ---- frames ----------------------------------------------------------------------------------- */

/* Read and judge a header of which `n` bytes are here. Each verdict falls as soon as the bytes that
 * it needs are here, and in this order: both engines agree on it, so that a cut changes nothing. */
static inline Status
read_header(Reader *self, PyObject *events, const uint8_t *p, size_t n, Header *h)
{
    /* 1. Two bytes: opcode (section 5.2), control frames (section 5.5). */
    h->size = 2;
    if (n < 2)
        return SHORT;
    h->opcode = p[0] & OPCODE;
    h->fin = (p[0] & FIN) != 0;
    h->rsv1 = (p[0] & RSV1) != 0;
    h->length = p[1] & LENGTH;
    if (!IS_KNOWN(h->opcode))
        return fail(self, events, 1002, "unknown opcode");
    if (IS_CONTROL(h->opcode)) {
        if (!h->fin)
            return fail(self, events, 1002, "fragmented control frame");
        if (h->length > MAX_CONTROL)
            return fail(self, events, 1002, "control frame too long");
    }

    /* 2. The extended length: minimal, and below 2^63 (section 5.2). */
    if (h->length >= 126) {
        int bytes = h->length == 126 ? 2 : 8;
        h->size += (size_t)bytes;
        if (n < h->size)
            return SHORT;
        h->length = big_endian(p + 2, bytes);
        if (h->length <= (bytes == 2 ? 125u : 0xFFFFu))
            return fail(self, events, 1002, "length not minimal");
        if (h->length >> 63)
            return fail(self, events, 1002, "length out of range");
    }

    /* 3. RSV bits (section 5.2): RSV1 begins a compressed message (RFC 7692, section 6). */
    if (p[0] & RSV) {
        int may_rsv1 = self->inflate != NULL && (h->opcode == TEXT || h->opcode == BINARY);
        if ((p[0] & RSV) != RSV1 || !may_rsv1)
            return fail(self, events, 1002, "reserved bit set");
    }

    if (!IS_CONTROL(h->opcode)) {
        /* 4. The order of fragments (section 5.4). */
        if (h->opcode == CONTINUATION && !self->fragments)
            return fail(self, events, 1002, "continuation without a message");
        if (h->opcode != CONTINUATION && self->fragments)
            return fail(self, events, 1002, "new message inside a message");
        /* 5. Limits (section 10.4). */
        if (self->fragments >= self->max_fragments)
            return fail(self, events, 1008, "too many fragments");
        if (!h->length && self->empty >= self->max_empty)
            return fail(self, events, 1008, "too many empty fragments");
        int compressed = self->fragments ? self->compressed : h->rsv1;
        if (h->length > size_limit(self->max_size, compressed) - self->size)
            return fail(self, events, 1009, "message too big");
    }

    /* 6. Who masks (section 5.1), and the mask. */
    if (self->client == ((p[1] & MASKED) != 0))
        return fail(self, events, 1002, self->client ? "masked frame" : "unmasked frame");
    memset(h->mask, 0, 4);
    if (!self->client) {
        h->size += 4;
        if (n < h->size)
            return SHORT;
        memcpy(h->mask, p + h->size - 4, 4);
    }

    /* 7. A control frame is taken whole. */
    if (IS_CONTROL(h->opcode) && n < h->size + h->length) {
        h->size += h->length;
        return SHORT;
    }
    return OK;
}

/* A frame that begins at *at: all of it if it is there, or what there is of it. */
static Status
take_frame(Reader *self, PyObject *events, const uint8_t **at, const uint8_t *stop)
{
    Header h;
    size_t n = (size_t)(stop - *at);
    Status status = read_header(self, events, *at, n, &h);

    if (status == SHORT) {
        /* Between two frames there is no stash: what is short is shorter than the longest unit. */
        self->stash = PyMem_Malloc(MAX_STASH);
        if (self->stash == NULL) {
            PyErr_NoMemory();
            return ERROR;
        }
        memcpy(self->stash, *at, n);
        self->stash_size = (uint8_t)n;
        *at = stop;
        return OK;
    }
    if (status != OK)
        return status;
    *at += h.size;
    if (IS_CONTROL(h.opcode)) {
        const uint8_t *payload = *at;
        *at += h.length;
        return take_control(self, events, &h, payload);
    }
    return take_data(self, events, &h, at, stop);
}

/* Complete the stashed unit with no byte more than it needs, then take it. */
static Status
take_stashed(Reader *self, PyObject *events, const uint8_t **at, const uint8_t *stop)
{
    Header h;
    Status status;

    while ((status = read_header(self, events, self->stash, self->stash_size, &h)) == SHORT) {
        size_t there = (size_t)(stop - *at), n = h.size - self->stash_size;
        n = n < there ? n : there;
        if (n == 0)
            return OK;
        memcpy(self->stash + self->stash_size, *at, n);
        self->stash_size += (uint8_t)n;
        *at += n;
    }
    if (status != OK)
        return status;
    if (IS_CONTROL(h.opcode)) {
        status = take_control(self, events, &h, self->stash + h.size);
        drop_stash(self);
        return status;
    }
    drop_stash(self);
    return take_data(self, events, &h, at, stop);
}

static Status
take_all(Reader *self, PyObject *events, const uint8_t *at, const uint8_t *stop)
{
    Status status = OK;

    while (status == OK && at < stop) {
        if (self->in_frame) {
            status = take_payload(self, events, &at, stop);
        }
        else if (self->stash != NULL) {
            status = take_stashed(self, events, &at, stop);
        }
        else {
            status = take_frame(self, events, &at, stop);
        }
    }
    return status;
}

/* ---- Reader ----------------------------------------------------------------------------------- */

static PyObject *
reader_receive(Reader *self, PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer view;
    PyObject *events;
    Status status;
    Py_ssize_t size;

    if (nargs < 1 || nargs > 2) {
        PyErr_SetString(PyExc_TypeError, "receive() takes data and, optionally, its size");
        return NULL;
    }
    if (self->busy) {
        /* inflate() runs Python code and lets other threads in. */
        PyErr_SetString(PyExc_RuntimeError, "receive() is already running");
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;
    size = view.len;
    if (nargs == 2) {
        size = PyLong_AsSsize_t(args[1]);
        if (size < 0 || size > view.len) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "the size is not one of the data");
            PyBuffer_Release(&view);
            return NULL;
        }
    }
    events = PyList_New(0);
    if (!self->ended) {
        self->busy = 1;
        status = events == NULL ? ERROR : take_all(self, events, view.buf, (const uint8_t *)view.buf + size);
        self->busy = 0;
        if (status == ERROR) {
            /* These bytes are lost, and with them the place in the stream. */
            end(self);
            Py_CLEAR(events);
        }
    }
    PyBuffer_Release(&view);
    return events;
}

/* ---- large messages, read to where they will stay --------------------------------------------- */

/* Less is read into a buffer and copied from there: that is cheaper than to change buffers. */
enum { LEAST_ROOM = 64 * 1024 };

/* How many bytes of the frame may be read straight to the message, 0 if it is not worth it. What a client sent has to be
 * unmasked, what is compressed is no message yet; and only a message of one frame has its size from the beginning, so
 * that nothing is moved while somebody holds its memory. */
static size_t
room(const Reader *self)
{
    if (!self->client || !self->in_frame || !self->fin || self->fragments != 1 || self->compressed
        || self->message == NULL)
        return 0;
    uint64_t n = capacity_of(self) - self->size;
    n = n < self->remaining ? n : self->remaining;
    return n < LEAST_ROOM ? 0 : (size_t)n;
}

static PyObject *
reader_room(Reader *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(room(self));
}

/* The memory belongs to the message, and lives as long as that or the view of it. */
static int
reader_getbuffer(Reader *self, Py_buffer *view, int flags)
{
    size_t n = room(self);

    if (!n) {
        view->obj = NULL;
        PyErr_SetString(PyExc_BufferError, "no large message is under way");
        return -1;
    }
    return PyBuffer_FillInfo(view, self->message, payload_of(self) + self->size, (Py_ssize_t)n, 0, flags);
}

static PyObject *
reader_get_buffer(PyObject *self, PyObject *Py_UNUSED(sizehint))
{
    return Py_NewRef(self);
}

static PyObject *
reader_received(Reader *self, PyObject *arg)
{
    size_t n = PyLong_AsSize_t(arg);
    PyObject *events;

    if (n == (size_t)-1 && PyErr_Occurred())
        return NULL;
    if (n > room(self)) {
        PyErr_SetString(PyExc_ValueError, "more than there was room for");
        return NULL;
    }
    events = PyList_New(0);
    if (events == NULL)
        return NULL;
    int other = is_text(self) && beyond_ascii(payload_of(self) + self->size, n);
    if (n && took_payload(self, events, n, other) == ERROR) {
        end(self);
        Py_CLEAR(events);
    }
    return events;
}

static PyObject *
reader_pending(Reader *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(!self->ended && (self->fragments || self->stash != NULL));
}

static PyObject *
reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"client", "max_message_size", "max_fragments", "max_empty_fragments",
                            "inflate", NULL};
    int client;
    Py_ssize_t max_size, max_fragments, max_empty;
    PyObject *inflate;
    Reader *self;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "pnnnO:Reader", names,
                                     &client, &max_size, &max_fragments, &max_empty, &inflate)) {
        return NULL;
    }
    if (max_size < 1 || max_fragments < 1 || max_empty < 1) {
        PyErr_SetString(PyExc_ValueError, "a limit must be at least 1");
        return NULL;
    }
    self = (Reader *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->client = client != 0;
    /* Room for what size_limit() adds, and for doubling. */
    self->max_size = (uint64_t)(max_size < PY_SSIZE_T_MAX / 4 ? max_size : PY_SSIZE_T_MAX / 4);
    self->max_fragments = max_fragments < UINT32_MAX ? (uint32_t)max_fragments : UINT32_MAX;
    self->max_empty = max_empty < UINT32_MAX ? (uint32_t)max_empty : UINT32_MAX;
    if (inflate != Py_None)
        self->inflate = Py_NewRef(inflate);
    return (PyObject *)self;
}

static void
reader_dealloc(Reader *self)
{
    end(self);
    Py_CLEAR(self->inflate);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef reader_methods[] = {
    {"receive", (PyCFunction)(void (*)(void))reader_receive, METH_FASTCALL,
     "receive($self, data, size=None, /)\n--\n\n"
     "All events of these bytes, or of the first size of them. No reference to data is kept. "
     "After a Close or a Fail: nothing."},
    {"get_buffer", reader_get_buffer, METH_O,
     "get_buffer($self, sizehint, /)\n--\n\n"
     "For a transport: the reader itself, a writable buffer of `room` bytes."},
    {"received", (PyCFunction)reader_received, METH_O,
     "received($self, size, /)\n--\n\n"
     "As receive(), of so many bytes that were read into the reader's buffer."},
    {NULL},
};

static PyBufferProcs reader_buffer = {.bf_getbuffer = (getbufferproc)reader_getbuffer};

static PyGetSetDef reader_getset[] = {
    {"room", (getter)reader_room, NULL,
     "How many bytes of the message under way may be read straight to where it will stay: 64 KiB or more, else 0.", NULL},
    {"pending", (getter)reader_pending, NULL, "A part of a frame or of a message is held.", NULL},
    {NULL},
};

static PyTypeObject ReaderType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fastws.protocol.websocket._frames.Reader",
    .tp_basicsize = sizeof(Reader),
    /* No GC: an inflater knows no reader, and 16 bytes count for thousands of idle ones. */
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Reader(client, max_message_size, max_fragments, max_empty_fragments, inflate)\n--\n\n"
              "Frames to events; the contract is FrameReader's.",
    .tp_new = reader_new,
    .tp_dealloc = (destructor)reader_dealloc,
    .tp_methods = reader_methods,
    .tp_getset = reader_getset,
    .tp_as_buffer = &reader_buffer,
};

/* ---- encode ----------------------------------------------------------------------------------- */

/* The bytes of a payload; `view.obj` owns them. ASCII text is lent as it is; other text is encoded
 * beside it, because the copy that a str keeps of its UTF-8 would live as long as the str. */
static int
get_payload(PyObject *payload, Py_buffer *view)
{
    if (!PyUnicode_Check(payload))
        return PyObject_GetBuffer(payload, view, PyBUF_SIMPLE);
    if (PyUnicode_IS_COMPACT_ASCII(payload)) {
        return PyBuffer_FillInfo(view, payload, PyUnicode_DATA(payload),
                                 PyUnicode_GET_LENGTH(payload), 1, PyBUF_SIMPLE);
    }
    PyObject *text = PyUnicode_AsUTF8String(payload);
    if (text == NULL)
        return -1;
    int failed = PyObject_GetBuffer(text, view, PyBUF_SIMPLE);
    Py_DECREF(text);
    return failed;
}

/* One frame (section 5.2). `mask` is NULL in the server role. */
static PyObject *
make_frame(int first, const uint8_t *payload, size_t n, const uint8_t *mask)
{
    static const uint8_t no_mask[4];
    size_t size = 2 + (mask ? 4 : 0) + (n <= 125 ? 0 : n <= 0xFFFF ? 2 : 8);
    PyObject *frame;
    uint8_t *p;

    if (n >= LARGE)
        show_large_block();
    frame = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(size + n));
    if (frame == NULL)
        return NULL;
    p = (uint8_t *)PyBytes_AS_STRING(frame);
    *p++ = (uint8_t)first;
    if (n <= 125) {
        *p++ = (uint8_t)((mask ? MASKED : 0) | n);
    }
    else {
        int bytes = n <= 0xFFFF ? 2 : 8;
        *p++ = (uint8_t)((mask ? MASKED : 0) | (bytes == 2 ? 126 : 127));
        for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
            *p++ = (uint8_t)((uint64_t)n >> shift);
        }
    }
    if (mask) {
        memcpy(p, mask, 4);
        copy_masked(p + 4, payload, n, mask);
    }
    else {
        copy_masked(p, payload, n, no_mask);
    }
    return frame;
}

/* Sort keyword arguments in; `slots` holds the positional ones. */
static int
take_keywords(PyObject **slots, PyObject *const *values, PyObject *names)
{
    static const char *const known[] = {"opcode", "payload", "mask", "fin", "rsv1"};

    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        int k = 0;
        while (k < 5 && PyUnicode_CompareWithASCIIString(name, known[k]) != 0) {
            k++;
        }
        if (k == 5 || slots[k] != NULL) {
            PyErr_Format(PyExc_TypeError, "encode() got an unexpected or repeated argument %R", name);
            return -1;
        }
        slots[k] = values[i];
    }
    return 0;
}

static PyObject *
encode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *slots[5] = {NULL}, *frame;
    const uint8_t *mask = NULL;
    Py_buffer view;
    long opcode;
    int fin = 1, rsv1 = 0;

    if (nargs <= 5) {
        memcpy(slots, args, (size_t)nargs * sizeof *slots);
    }
    if (kwnames != NULL && take_keywords(slots, args + nargs, kwnames) < 0)
        return NULL;
    if (nargs > 5 || slots[0] == NULL || slots[1] == NULL) {
        PyErr_SetString(PyExc_TypeError, "encode() takes opcode, payload, mask, fin and rsv1");
        return NULL;
    }
    opcode = PyLong_AsLong(slots[0]);
    if (opcode == -1 && PyErr_Occurred())
        return NULL;
    if (opcode < 0 || opcode > OPCODE || !IS_KNOWN(opcode))
        return PyErr_Format(PyExc_ValueError, "%ld is not a known opcode", opcode);
    if (slots[2] != NULL && slots[2] != Py_None) {
        if (!PyBytes_Check(slots[2]) || PyBytes_GET_SIZE(slots[2]) != 4) {
            PyErr_SetString(PyExc_ValueError, "a mask is 4 bytes, or None");
            return NULL;
        }
        mask = (const uint8_t *)PyBytes_AS_STRING(slots[2]);
    }
    if ((slots[3] != NULL && (fin = PyObject_IsTrue(slots[3])) < 0) ||
        (slots[4] != NULL && (rsv1 = PyObject_IsTrue(slots[4])) < 0) ||
        get_payload(slots[1], &view) < 0) {
        return NULL;
    }
    if (IS_CONTROL(opcode) && (view.len > MAX_CONTROL || !fin || rsv1)) {
        frame = PyErr_Format(PyExc_ValueError, "a control frame is whole, not compressed, "
                                               "and has at most %d bytes", MAX_CONTROL);
    }
    else {
        int first = (fin ? FIN : 0) | (rsv1 ? RSV1 : 0) | (int)opcode;
        frame = make_frame(first, view.buf, (size_t)view.len, mask);
    }
    PyBuffer_Release(&view);
    return frame;
}

/* ---- module ----------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL | METH_KEYWORDS,
     "encode($module, /, opcode, payload, mask=None, fin=True, rsv1=False)\n--\n\n"
     "One frame; the contract is Encode's."},
    {NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fastws.protocol.websocket._frames",
    .m_doc = "The C engine: WebSocket frames to events, and payloads to frames.",
    .m_size = -1,
    .m_methods = functions,
};

static int
import_class(PyObject **class, const char *from, const char *name)
{
    PyObject *source = PyImport_ImportModule(from);

    if (source == NULL)
        return -1;
    *class = PyObject_GetAttrString(source, name);
    Py_DECREF(source);
    return *class == NULL ? -1 : 0;
}

PyMODINIT_FUNC
PyInit__frames(void)
{
    PyObject *self;

    if (import_class(&Ping, "fastws.protocol.websocket.events", "Ping") < 0 ||
        import_class(&Pong, "fastws.protocol.websocket.events", "Pong") < 0 ||
        import_class(&Close, "fastws.protocol.websocket.events", "Close") < 0 ||
        import_class(&Fail, "fastws.protocol.websocket.events", "Fail") < 0 ||
        import_class(&InflateError, "fastws.protocol.websocket.deflate", "InflateError") < 0 ||
        PyType_Ready(&ReaderType) < 0) {
        return NULL;
    }
    self = PyModule_Create(&module);
    if (self != NULL && PyModule_AddObjectRef(self, "Reader", (PyObject *)&ReaderType) < 0) {
        Py_CLEAR(self);
    }
    return self;
}
