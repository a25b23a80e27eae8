/* The counters of one server. Compiled connections add to them through a pointer, so that it costs the same where they
 * lie: in the object, or in a page that processes share. */
#include "_counters.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(sizeof(long long) == 8, "processes share integers of 64 bits");

enum { COUNTERS = sizeof(CounterRow) / sizeof(long long) };

static const char *const names[COUNTERS] = {
#define NAME(name) #name,
    FOR_EACH_COUNTER(NAME)
#undef NAME
};

static long long *
place_in(CounterRow *row, int index)
{
    return (long long *)row + index;
}

static PyObject *
counters_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    CountersObject *self;

    if (PyTuple_GET_SIZE(args) != 0 || (keywords != NULL && PyDict_GET_SIZE(keywords) != 0)) {
        PyErr_SetString(PyExc_TypeError, "Counters() takes no arguments");
        return NULL;
    }
    self = (CountersObject *)type->tp_alloc(type, 0);   /* all zero */
    if (self != NULL)
        self->row = &self->own;
    return (PyObject *)self;
}

static void
counters_dealloc(CountersObject *self)
{
    PyBuffer_Release(&self->memory);    /* does nothing where there is none */
    PyBuffer_Release(&self->closes_memory);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* Hold memory for so many integers. */
static int
take_memory(PyObject *memory, Py_buffer *buffer, size_t integers)
{
    size_t size = integers * sizeof(long long);

    if (PyObject_GetBuffer(memory, buffer, PyBUF_WRITABLE) < 0)
        return -1;
    if (buffer->len < (Py_ssize_t)size || (uintptr_t)buffer->buf % sizeof(long long) != 0) {
        PyBuffer_Release(buffer);
        PyErr_Format(PyExc_ValueError, "counters need %zu bytes at a multiple of 8", size);
        return -1;
    }
    return 0;
}

static PyObject *
counters_share(CountersObject *self, PyObject *memory)
{
    Py_buffer buffer;
    CounterRow *row;

    if (take_memory(memory, &buffer, COUNTERS) < 0)
        return NULL;
    row = buffer.buf;
    for (int i = 0; i < COUNTERS; i++) {
        long long counted = *place_in(self->row, i) - *place_in(&self->base, i);

        *place_in(&self->base, i) = *place_in(row, i);
        *place_in(row, i) += counted;
    }
    self->row = row;
    PyBuffer_Release(&self->memory);
    self->memory = buffer;
    Py_RETURN_NONE;
}

static PyObject *
counters_count_closes(CountersObject *self, PyObject *memory)
{
    Py_buffer buffer;

    if (take_memory(memory, &buffer, CLOSES) < 0)
        return NULL;
    self->closes = buffer.buf;
    PyBuffer_Release(&self->closes_memory);
    self->closes_memory = buffer;
    Py_RETURN_NONE;
}

/* Count at the place of a code, from `first` on; False where it has none. */
static PyObject *
count_close(CountersObject *self, PyObject *code, int first)
{
    long number = PyLong_AsLong(code);
    int place = -1;

    if (number == -1 && PyErr_Occurred())
        return NULL;
    if (number >= FIRST_CODE && number < FIRST_CODE + CODES)
        place = first + (int)(number - FIRST_CODE);
    else if (first == CODES && number >= 3000 && number < 5000)
        place = FREE_CODES + (number >= 4000);
    if (place < 0 || self->closes == NULL)
        Py_RETURN_FALSE;
    self->closes[place]++;
    Py_RETURN_TRUE;
}

static PyObject *
counters_server_closed(CountersObject *self, PyObject *code)
{
    return count_close(self, code, 0);
}

static PyObject *
counters_peer_closed(CountersObject *self, PyObject *code)
{
    return count_close(self, code, CODES);
}

static PyObject *
counters_as_dict(CountersObject *self, PyObject *Py_UNUSED(none))
{
    PyObject *found = PyDict_New();

    for (int i = 0; found != NULL && i < COUNTERS; i++) {
        PyObject *number = PyLong_FromLongLong(*place_in(self->row, i) - *place_in(&self->base, i));

        if (number == NULL || PyDict_SetItemString(found, names[i], number) < 0)
            Py_CLEAR(found);
        Py_XDECREF(number);
    }
    return found;
}

static PyObject *
counters_repr(CountersObject *self)
{
    PyObject *all = counters_as_dict(self, NULL), *text = NULL;

    if (all != NULL)
        text = PyUnicode_FromFormat("Counters(%R)", all);
    Py_XDECREF(all);
    return text;
}

static PyObject *
get_counter(CountersObject *self, void *offset)
{
    char *now = (char *)self->row + (intptr_t)offset, *before = (char *)&self->base + (intptr_t)offset;

    return PyLong_FromLongLong(*(long long *)now - *(long long *)before);
}

static int
set_counter(CountersObject *self, PyObject *value, void *offset)
{
    long long number;

    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "a counter cannot be deleted");
        return -1;
    }
    number = PyLong_AsLongLong(value);
    if (number == -1 && PyErr_Occurred())
        return -1;
    *(long long *)((char *)self->row + (intptr_t)offset) =
        *(long long *)((char *)&self->base + (intptr_t)offset) + number;
    return 0;
}

/* Interpreted code says counters.row.connections too. */
static PyObject *
get_row(PyObject *self, void *Py_UNUSED(none))
{
    return Py_NewRef(self);
}

static PyGetSetDef attributes[] = {
#define ATTRIBUTE(name) \
    {#name, (getter)get_counter, (setter)set_counter, NULL, (void *)offsetof(CounterRow, name)},
    FOR_EACH_COUNTER(ATTRIBUTE)
#undef ATTRIBUTE
    {"row", get_row, NULL, "Where the numbers are written.", NULL},
    {NULL},
};

static PyMethodDef methods[] = {
    {"as_dict", (PyCFunction)counters_as_dict, METH_NOARGS,
     "as_dict($self, /)\n--\n\n"
     "Return the counters by name."},
    {"share", (PyCFunction)counters_share, METH_O,
     "share($self, memory, /)\n--\n\n"
     "Write to this memory from now on, and add to what stands there.\n\n"
     "Raises BufferError, TypeError and ValueError for memory that cannot be written or is too small."},
    {"count_closes", (PyCFunction)counters_count_closes, METH_O,
     "count_closes($self, memory, /)\n--\n\n"
     "Count closes in this memory from now on. Raises as share does."},
    {"server_closed", (PyCFunction)counters_server_closed, METH_O,
     "server_closed($self, code, /)\n--\n\n"
     "Count a WebSocket that we have closed; False where the code has no place, or nobody asks for it."},
    {"peer_closed", (PyCFunction)counters_peer_closed, METH_O,
     "peer_closed($self, code, /)\n--\n\n"
     "Count a WebSocket that its peer has closed, or left; False as of server_closed."},
    {NULL},
};

static PyTypeObject CountersType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fastws.connection._counters.Counters",
    .tp_doc = "Counters()\n--\n\nWhat a server has done since it began. Each number moves while sockets are open.",
    .tp_basicsize = sizeof(CountersObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = counters_new,
    .tp_dealloc = (destructor)counters_dealloc,
    .tp_repr = (reprfunc)counters_repr,
    .tp_methods = methods,
    .tp_getset = attributes,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fastws.connection._counters",
    .m_doc = "The counters of one server.",
    .m_size = -1,
};

PyMODINIT_FUNC
PyInit__counters(void)
{
    PyObject *made;

    if (PyType_Ready(&CountersType) < 0)
        return NULL;
    made = PyModule_Create(&module);
    if (made != NULL && PyModule_AddObjectRef(made, "Counters", (PyObject *)&CountersType) < 0)
        Py_CLEAR(made);
    return made;
}
