/* What a Reader puts into the list of events: a failure, a close frame, a ping, a pong. See _frames.h. */
#include "_frames.h"

/* Forget the incomplete header or control frame. */
void
drop_stash(Reader *self)
{
    PyMem_Free(self->stash);
    self->stash = NULL;
    self->stash_size = 0;
}

/* Read nothing more: the connection closes, or has failed. */
void
end_reader(Reader *self)
{
    self->ended = 1;
    drop_stash(self);
    Py_CLEAR(self->message);
}

/* Fail the connection (section 7.1.7). The reason is a constant, and never repeats what the peer sent. */
Status
fail_reader(Reader *self, PyObject *events, int code, const char *reason)
{
    end_reader(self);
    return append(events, PyObject_CallFunction(classes.fail, "is", code, reason)) == OK ? ENDED : ERROR;
}

/* The codes that a close frame may carry (section 7.4, and IANA's registry). */
static int
is_sendable(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/* A close frame (section 5.5.1). `payload` is unmasked. */
static Status
take_close(Reader *self, PyObject *events, const uint8_t *payload, size_t n)
{
    unsigned code = 1005;
    PyObject *number, *reason, *event;
    Status status;

    if (n == 1)
        return fail_reader(self, events, 1002, "close frame of one byte");
    if (n >= 2) {
        code = (unsigned)big_endian(payload, 2);
        if (!is_sendable(code))
            return fail_reader(self, events, 1002, "invalid close code");
    }
    reason = n <= 2 ? PyUnicode_New(0, 0)
                    : PyUnicode_DecodeUTF8((const char *)payload + 2, (Py_ssize_t)n - 2, NULL);
    if (reason == NULL)
        return deliver(self, events, NULL);
    number = PyLong_FromUnsignedLong(code);
    event = number == NULL ? NULL : PyObject_Vectorcall(classes.close, (PyObject *[]){number, reason}, 2, NULL);
    Py_XDECREF(number);
    Py_DECREF(reason);
    status = append(events, event);
    end_reader(self);
    return status == OK ? ENDED : ERROR;
}

/* A whole control frame (section 5.5). */
Status
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
    event = PyObject_CallOneArg(h->opcode == PING ? classes.ping : classes.pong, copy);
    Py_DECREF(copy);
    return append(events, event);
}
