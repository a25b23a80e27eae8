/* The module of the C engine and its type Reader. The engine is described in _frames.h. */
#include "_frames.h"

Classes classes;
uint32_t inflated_bytes_ahead;

/* ---- large messages, which are read straight into their own memory ---------------------------- */

/* Bytes: fewer are read into a buffer and copied from there, which costs less than a change of buffers. */
enum { MIN_ROOM = 64 * 1024 };

/* How many bytes of the frame may be read straight into the memory of the message; 0 if the reader needs a buffer.
 * A client's payload has to be unmasked, and a compressed one inflated. Only a message of one frame has its final
 * size from the beginning, so that its memory is not moved while a transport holds it. */
static size_t
room(const Reader *self)
{
    if (!self->client || !self->in_frame || !self->fin || self->fragments != 1 || self->compressed
        || self->message == NULL)
        return 0;
    uint64_t n = capacity_of(self) - self->size;
    n = n < self->remaining ? n : self->remaining;
    return n < MIN_ROOM ? 0 : (size_t)n;
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
        end_reader(self);
        Py_CLEAR(events);
    }
    return events;
}

/* ---- Reader ----------------------------------------------------------------------------------- */

static PyObject *
reader_pending(Reader *self, void *Py_UNUSED(closure))
{
    int unread = self->stopped && PyBytes_GET_SIZE(self->message) > 0;

    return PyBool_FromLong(!self->ended && (self->fragments || self->stash != NULL || unread));
}

/* Reader(max_message_size, max_fragments, max_empty_fragments, inflate, *, client). */
static PyObject *
reader_new(PyObject *type, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    static const char *const names[] = {"max_message_size", "max_fragments", "max_empty_fragments", "inflate", "client"};
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf), limits[3];
    PyObject *slots[5] = {NULL};
    Reader *self;
    int client;

    if (nargs <= 4) {
        memcpy(slots, args, (size_t)nargs * sizeof *slots);
    }
    if (kwnames != NULL && take_keywords(slots, names, 5, args + nargs, kwnames) < 0)
        return NULL;
    for (int i = 0; i < 5; i++) {
        if (slots[i] == NULL) {
            PyErr_SetString(PyExc_TypeError, "Reader() takes three limits, inflate, and client=");
            return NULL;
        }
    }
    for (int i = 0; i < 3; i++) {
        limits[i] = PyLong_AsSsize_t(slots[i]);
        if (limits[i] < 1) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "a limit must be at least 1");
            return NULL;
        }
    }
    client = PyObject_IsTrue(slots[4]);
    if (client < 0)
        return NULL;
    self = (Reader *)PyType_GenericAlloc((PyTypeObject *)type, 0);
    if (self == NULL)
        return NULL;
    self->client = (uint8_t)client;
    /* So that size_limit(), and 16 times a size in reserve(), cannot overflow. */
    self->max_size = (uint64_t)(limits[0] < PY_SSIZE_T_MAX / 4 ? limits[0] : PY_SSIZE_T_MAX / 4);
    self->max_fragments = limits[1] < UINT32_MAX ? (uint32_t)limits[1] : UINT32_MAX;
    self->max_empty = limits[2] < UINT32_MAX ? (uint32_t)limits[2] : UINT32_MAX;
    if (slots[3] != Py_None)
        self->inflate = Py_NewRef(slots[3]);
    return (PyObject *)self;
}

static void
reader_dealloc(Reader *self)
{
    end_reader(self);
    Py_CLEAR(self->inflate);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef reader_methods[] = {
    {"receive", (PyCFunction)(void (*)(void))reader_receive, METH_FASTCALL,
     "receive($self, data, size=None, /)\n--\n\n"
     "Return all events of the first size bytes of data, by default of all. No reference to data is kept. "
     "After a Close or a Fail the list is empty."},
    {"get_buffer", reader_get_buffer, METH_O,
     "get_buffer($self, sizehint, /)\n--\n\n"
     "Return the reader itself, a writable buffer of `room` bytes, for a transport."},
    {"received", (PyCFunction)reader_received, METH_O,
     "received($self, size, /)\n--\n\n"
     "Return the events of size bytes that were read into the reader's buffer."},
    {NULL},
};

static PyBufferProcs reader_buffer = {.bf_getbuffer = (getbufferproc)reader_getbuffer};

static PyGetSetDef reader_getset[] = {
    {"room", (getter)reader_room, NULL,
     "How many bytes may be read straight into the memory of the message under way: 0, or 64 KiB and more.", NULL},
    {"pending", (getter)reader_pending, NULL, "Whether a part of a frame or of a message is held.", NULL},
    {NULL},
};

static PyTypeObject ReaderType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fastws.protocol.websocket._frames.Reader",
    .tp_basicsize = sizeof(Reader),
    /* No garbage collection: an inflater has no reference to its reader, and each idle reader saves 16 bytes. */
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Reader(max_message_size, max_fragments, max_empty_fragments, inflate, *, client)\n--\n\n"
              "Turns the bytes of frames into events; the contract is that of ReaderType and FrameReader.",
    .tp_vectorcall = reader_new,
    .tp_dealloc = (destructor)reader_dealloc,
    .tp_methods = reader_methods,
    .tp_getset = reader_getset,
    .tp_as_buffer = &reader_buffer,
};

/* ---- module ----------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL | METH_KEYWORDS,
     "encode($module, /, opcode, payload, mask=None, flags=0x80)\n--\n\n"
     "Return one frame; the contract is that of Encode."},
    {NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fastws.protocol.websocket._frames",
    .m_doc = "The engine in C: it turns bytes into WebSocket events, and payloads into frames.",
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

static int
import_number(uint32_t *number, const char *from, const char *name)
{
    PyObject *found;

    if (import_class(&found, from, name) < 0)
        return -1;
    *number = (uint32_t)PyLong_AsUnsignedLong(found);
    Py_DECREF(found);
    return PyErr_Occurred() ? -1 : 0;
}

PyMODINIT_FUNC
PyInit__frames(void)
{
    PyObject *self;

    if (import_class(&classes.ping, "fastws.protocol.websocket.events", "Ping") < 0 ||
        import_class(&classes.pong, "fastws.protocol.websocket.events", "Pong") < 0 ||
        import_class(&classes.close, "fastws.protocol.websocket.events", "Close") < 0 ||
        import_class(&classes.fail, "fastws.protocol.websocket.events", "Fail") < 0 ||
        import_class(&classes.more, "fastws.protocol.websocket.events", "More") < 0 ||
        import_number(&inflated_bytes_ahead, "fastws.protocol.websocket.deflate", "INFLATED_BYTES_AHEAD") < 0 ||
        import_class(&classes.inflate_error, "fastws.protocol.websocket.deflate", "InflateError") < 0 ||
        PyType_Ready(&ReaderType) < 0) {
        return NULL;
    }
    self = PyModule_Create(&module);
    if (self != NULL && PyModule_AddObjectRef(self, "Reader", (PyObject *)&ReaderType) < 0) {
        Py_CLEAR(self);
    }
    return self;
}
