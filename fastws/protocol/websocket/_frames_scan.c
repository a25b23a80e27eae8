/* From bytes to frames: headers, their checks, and the common case of a message in one frame. See _frames.h. */
#include "_frames.h"

/* Take as much of the frame's payload as has arrived. */
static Status
take_payload(Reader *self, PyObject *events, const uint8_t **at, const uint8_t *stop)
{
    size_t there = (size_t)(stop - *at);
    size_t n = self->remaining < there ? (size_t)self->remaining : there;
    int beyond_ascii = 0;

    if (n) {
        if (reserve(self, n) < 0)
            return ERROR;
        beyond_ascii = copy_masked(payload_of(self) + self->size, *at, n, self->mask);
        uint64_t rotated = mask_word(self->mask, n);
        memcpy(self->mask, &rotated, 4);
        *at += n;
    }
    return took_payload(self, events, n, beyond_ascii);
}

/* Make a message of one whole frame, text or binary: the common case. */
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

/* Take a data frame whose header was accepted. Its payload begins at *at. */
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

/* Read and check a header of which `n` bytes have arrived. Each check is made as soon as its bytes are there, and in
 * this order. Both engines have the same order, so where the input is cut changes nothing. */
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
        return fail_reader(self, events, 1002, "unknown opcode");
    if (IS_CONTROL(h->opcode)) {
        if (!h->fin)
            return fail_reader(self, events, 1002, "fragmented control frame");
        if (h->length > MAX_CONTROL)
            return fail_reader(self, events, 1002, "control frame too long");
    }

    /* 2. The extended length: minimal, and below 2^63 (section 5.2). */
    if (h->length >= 126) {
        int bytes = h->length == 126 ? 2 : 8;
        h->size += (size_t)bytes;
        if (n < h->size)
            return SHORT;
        h->length = big_endian(p + 2, bytes);
        if (h->length <= (bytes == 2 ? 125u : 0xFFFFu))
            return fail_reader(self, events, 1002, "length not minimal");
        if (h->length >> 63)
            return fail_reader(self, events, 1002, "length out of range");
    }

    /* 3. RSV bits (section 5.2): RSV1 begins a compressed message (RFC 7692, section 6). */
    if (p[0] & RSV) {
        int may_rsv1 = self->inflate != NULL && (h->opcode == TEXT || h->opcode == BINARY);
        if ((p[0] & RSV) != RSV1 || !may_rsv1)
            return fail_reader(self, events, 1002, "reserved bit set");
    }

    if (!IS_CONTROL(h->opcode)) {
        /* 4. The order of fragments (section 5.4). */
        if (h->opcode == CONTINUATION && !self->fragments)
            return fail_reader(self, events, 1002, "continuation without a message");
        if (h->opcode != CONTINUATION && self->fragments)
            return fail_reader(self, events, 1002, "new message inside a message");
        /* 5. Limits (section 10.4). */
        if (self->fragments >= self->max_fragments)
            return fail_reader(self, events, 1008, "too many fragments");
        if (!h->length && self->empty >= self->max_empty)
            return fail_reader(self, events, 1008, "too many empty fragments");
        int compressed = self->fragments ? self->compressed : h->rsv1;
        if (h->length > size_limit(self->max_size, compressed) - self->size)
            return fail_reader(self, events, 1009, "message too big");
    }

    /* 6. The client masks, the server does not (section 5.1); and the mask. */
    if (self->client == ((p[1] & MASKED) != 0))
        return fail_reader(self, events, 1002, self->client ? "masked frame" : "unmasked frame");
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

/* Take the frame that begins at *at, or the part of it that has arrived. */
static Status
take_frame(Reader *self, PyObject *events, const uint8_t **at, const uint8_t *stop)
{
    Header h;
    size_t n = (size_t)(stop - *at);
    Status status = read_header(self, events, *at, n, &h);

    if (status == SHORT) {
        /* Between two frames the stash is empty, and what is too short is shorter than MAX_STASH. */
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

/* Complete the stashed header or control frame, with no byte more than it needs, then take the frame. */
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

/* Enough was inflated: keep the bytes from `at` to `stop` as they are, and say so. */
static Status
stop_reading(Reader *self, PyObject *events, const uint8_t *at, const uint8_t *stop)
{
    self->message = PyBytes_FromStringAndSize((const char *)at, stop - at);
    if (self->message == NULL)
        return ERROR;
    self->stopped = 1;
    return append(events, PyObject_CallNoArgs(classes.more));
}

/* Take all bytes from `at` to `stop`, as far as no frame ends or stops the reader. */
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
    return status == STOPPED ? stop_reading(self, events, at, stop) : status;
}

/* The reader has stopped: keep these `size` bytes too, so that none is left to take; or, for no bytes, let it go on
 * with those that were kept, which the caller owns then. */
static Status
keep_or_go_on(Reader *self, const uint8_t **at, Py_ssize_t *size, PyObject **kept)
{
    if (*size) {
        PyBytes_ConcatAndDel(&self->message, PyBytes_FromStringAndSize((const char *)*at, *size));
        *size = 0;
        return self->message == NULL ? ERROR : OK;
    }
    *kept = self->message;
    *at = (const uint8_t *)PyBytes_AS_STRING(*kept);
    *size = PyBytes_GET_SIZE(*kept);
    self->message = NULL;
    self->stopped = 0;
    self->inflated = 0;
    return OK;
}

/* The method receive(). It stands here so that take_all() is inlined. */
PyObject *
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
        const uint8_t *at = view.buf;
        PyObject *kept = NULL;
        status = events == NULL ? ERROR : OK;
        if (self->stopped && status == OK) {
            status = keep_or_go_on(self, &at, &size, &kept);
        }
        if (status == OK) {
            status = take_all(self, events, at, at + size);
        }
        Py_XDECREF(kept);
        self->busy = 0;
        if (status == ERROR) {
            /* These bytes are lost, and with them the place in the stream: nothing more can be read. */
            end_reader(self);
            Py_CLEAR(events);
        }
    }
    PyBuffer_Release(&view);
    return events;
}
