/* libFuzzer on the C engine alone, with AddressSanitizer and UndefinedBehaviorSanitizer.
 *
 * The first byte of an input is the role and whether compression was negotiated, the second says how
 * the rest is cut. Each piece lies in memory of its own size, so that a read beyond it is seen.
 */
#include "../../fastws/protocol/websocket/_frames.c"

#include <stdlib.h>

static PyObject *reader_type, *inflater_type;

static void
require(const void *made)
{
    if (made == NULL) {
        PyErr_Print();
        abort();
    }
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    PyObject *module;

    (void)argc;
    (void)argv;
    PyImport_AppendInittab("_frames", PyInit__frames);
    Py_Initialize();
    module = PyImport_ImportModule("_frames");
    require(module);
    reader_type = PyObject_GetAttrString(module, "Reader");
    require(reader_type);
    module = PyImport_ImportModule("fastws.protocol.websocket.deflate");
    require(module);
    inflater_type = PyObject_GetAttrString(module, "Inflater");
    require(inflater_type);
    return 0;
}

static void
feed(PyObject *reader, const uint8_t *data, size_t size)
{
    uint8_t *piece = malloc(size ? size : 1);
    PyObject *view, *events;

    memcpy(piece, data, size);
    view = PyMemoryView_FromMemory((char *)piece, (Py_ssize_t)size, PyBUF_READ);
    require(view);
    events = PyObject_CallMethod(reader, "receive", "O", view);
    require(events);
    Py_DECREF(events);
    /* A reader keeps no view of what it was given. */
    if (Py_REFCNT(view) != 1) {
        abort();
    }
    Py_DECREF(view);
    free(piece);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PyObject *reader, *limits, *role, *inflate = Py_None;
    size_t step;

    if (size < 2) {
        return 0;
    }
    if (data[0] & 2) {
        inflate = PyObject_CallNoArgs(inflater_type);
        require(inflate);
    }
    limits = Py_BuildValue("iiiO", 4096, 8, 2, inflate);
    require(limits);
    role = Py_BuildValue("{s:O}", "client", data[0] & 1 ? Py_True : Py_False);
    require(role);
    reader = PyObject_Call(reader_type, limits, role);
    require(reader);
    Py_DECREF(limits);
    Py_DECREF(role);
    step = data[1] ? data[1] : size;
    for (size_t at = 2; at < size; at += step) {
        feed(reader, data + at, size - at < step ? size - at : step);
    }
    Py_DECREF(reader);
    if (inflate != Py_None) {
        Py_DECREF(inflate);
    }
    return 0;
}
