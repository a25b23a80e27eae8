/* From payloads to frames: the function encode(). See _frames.h. */
#include "_frames.h"

/* Get the bytes of a payload; `view.obj` owns them. ASCII text is used where it is. Other text is encoded anew,
 * because the UTF-8 that a str can keep of itself would take memory as long as the str lives. */
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

/* Make one frame (section 5.2). `first` is its first byte; `mask` is NULL in the server's role. */
static PyObject *
make_frame(int first, const uint8_t *payload, size_t n, const uint8_t *mask)
{
    static const uint8_t no_mask[4];
    size_t size = 2 + (mask ? 4 : 0) + (n <= 125 ? 0 : n <= 0xFFFF ? 2 : 8);
    PyObject *frame;
    uint8_t *p;

    if (n >= LARGE_BLOCK)
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

/* Put keyword arguments into the `count` slots, which have the positional ones. */
int
take_keywords(PyObject **slots, const char *const *known, int count, PyObject *const *values, PyObject *names)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        int k = 0;
        while (k < count && PyUnicode_CompareWithASCIIString(name, known[k]) != 0) {
            k++;
        }
        if (k == count || slots[k] != NULL) {
            PyErr_Format(PyExc_TypeError, "an unexpected or repeated argument: %R", name);
            return -1;
        }
        slots[k] = values[i];
    }
    return 0;
}

PyObject *
encode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"opcode", "payload", "mask", "flags"};
    PyObject *slots[4] = {NULL}, *frame;
    const uint8_t *mask = NULL;
    Py_buffer view;
    long opcode, flags = FIN;

    if (nargs <= 4) {
        memcpy(slots, args, (size_t)nargs * sizeof *slots);
    }
    if (kwnames != NULL && take_keywords(slots, names, 4, args + nargs, kwnames) < 0)
        return NULL;
    if (nargs > 4 || slots[0] == NULL || slots[1] == NULL) {
        PyErr_SetString(PyExc_TypeError, "encode() takes opcode, payload, mask and flags");
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
    if (slots[3] != NULL) {
        flags = PyLong_AsLong(slots[3]);
        if (flags == -1 && PyErr_Occurred())
            return NULL;
        if (flags & ~(long)(FIN | RSV1)) {
            PyErr_SetString(PyExc_ValueError, "the flags of a frame are FIN and RSV1");
            return NULL;
        }
    }
    if (get_payload(slots[1], &view) < 0)
        return NULL;
    if (IS_CONTROL(opcode) && (view.len > MAX_CONTROL || flags != FIN)) {
        frame = PyErr_Format(PyExc_ValueError, "a control frame is whole, not compressed, "
                                               "and has at most %d bytes", MAX_CONTROL);
    }
    else {
        frame = make_frame((int)(flags | opcode), view.buf, (size_t)view.len, mask);
    }
    PyBuffer_Release(&view);
    return frame;
}
