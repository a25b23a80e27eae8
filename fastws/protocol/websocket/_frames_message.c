/* From frames to messages: memory, UTF-8, inflation. See _frames.h. */
#include "_frames.h"

/* Free a large block once, so that glibc keeps memory for large messages.
 *
 * glibc maps each block of 128 KiB and more, and unmaps it again, until it has seen such a block freed. From then on
 * it keeps twice the size of the largest block that it saw. Without this, two messages of 1 MiB are already more than
 * it keeps, and the memory of every message is new pages. Nothing is written to the block. Where a program has set the
 * thresholds itself (mallopt, fastws/server/memory.py), this changes none of them. The block comes from malloc and not
 * from Python's allocator, which would count it. */
enum { SHOWN_BLOCK = 4 * 1024 * 1024 };

void
show_large_block(void)
{
    static int shown;

    if (!shown) {
        void *volatile block = malloc(SHOWN_BLOCK);  /* volatile: else a compiler may leave out both calls */

        shown = 1;
        free(block);
    }
}

/* Make room for `n` bytes that have arrived: 16 times the bytes so far, up to what the message can still become.
 * A message of 1 MiB that comes in reads of 64 KiB is then never moved. A peer that only announces 1 MiB makes this
 * side allocate nothing, and pages to which nothing is written take no memory. */
int
reserve(Reader *self, size_t n)
{
    uint64_t wanted = self->size + n, bound, grown;

    if (wanted <= (self->message == NULL ? 0 : capacity_of(self)))
        return 0;
    bound = self->fin ? self->size + self->remaining : size_limit(self->max_size, self->compressed);
    grown = wanted * 16 < bound ? wanted * 16 : bound;
    if (grown >= LARGE_BLOCK)
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

/* Take the message out of the reader, in its true size. */
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
    /* Each byte was valid where it stood; only the last character may be incomplete. */
    PyObject *text = PyUnicode_DecodeUTF8(PyUnicode_DATA(message), size, NULL);
    Py_DECREF(message);
    return text;
}

/* Clear the InflateError that is set, and return its close code; -1 when another exception is set. */
static int
inflate_error(void)
{
    PyObject *error, *value;
    long code;

    if (!PyErr_ExceptionMatches(classes.inflate_error))
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

/* Inflate the message and append it (RFC 7692, section 7.2.2). Steals `payload`. */
static Status
deliver_inflated(Reader *self, PyObject *events, PyObject *payload)
{
    PyObject *message, *text;

    message = PyObject_CallFunction(self->inflate, "NK", payload, (unsigned long long)self->max_size);
    if (message == NULL) {
        int code = inflate_error();
        if (code < 0)
            return ERROR;
        return fail_reader(self, events, code, code == 1009 ? "message too big" : "invalid deflate data");
    }
    if (!PyBytes_Check(message)) {
        PyErr_Format(PyExc_TypeError, "inflate() must return bytes, not %.100s", Py_TYPE(message)->tp_name);
        Py_DECREF(message);
        return ERROR;
    }
    uint64_t inflated = self->inflated + (uint64_t)PyBytes_GET_SIZE(message);
    self->inflated = inflated < inflated_bytes_ahead ? (uint32_t)inflated : inflated_bytes_ahead;
    Status then = inflated < inflated_bytes_ahead ? OK : STOPPED;
    if (self->opcode != TEXT)
        return append(events, message) == OK ? then : ERROR;
    text = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message), NULL);
    Py_DECREF(message);
    Status status = deliver(self, events, text);
    return status == OK ? then : status;
}

/* Append the message, of which the last frame has ended. */
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

/* Count `n` bytes of the frame's payload, possibly none, that now stand behind the message's bytes so far. The frame
 * may end with them, and the message with it. `beyond_ascii`: one of them is not ASCII, if this is a text. */
Status
took_payload(Reader *self, PyObject *events, size_t n, int beyond_ascii)
{
    if (is_text(self) && n && (beyond_ascii || self->utf8.need)) {
        self->ascii = 0;
        if (!utf8_feed(&self->utf8, payload_of(self) + self->size, n))
            return fail_reader(self, events, 1007, "invalid UTF-8");
    }
    self->size += n;
    self->remaining -= n;
    if (self->remaining)
        return OK;
    self->in_frame = 0;
    return self->fin ? finish_message(self, events) : OK;
}
