/* recv(2) for the poller: from many sockets that have something to read, straight from C.
 *
 * Which descriptors are in the epoll set is the poller's business. What is read without the GIL goes to
 * a buffer that the call holds; descriptors and sizes are this call's own.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* Sockets that one call reads from; each has that part of the buffer. */
enum { SLOTS = 16 };

/* Bytes read, -1 when there is nothing now; 0 when this is the transport's to read, for the end, an error or urgent
 * data is near. */
static Py_ssize_t
receive_now(const struct epoll_event *event, char *data, size_t size)
{
    Py_ssize_t got;

    if (event->events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP | EPOLLPRI))
        return 0;
    do {
        got = recv(event->data.fd, data, size, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return 0;
    return got;
}

static PyObject *
receive_many(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    struct epoll_event events[SLOTS];
    Py_ssize_t sizes[SLOTS], slot;
    Py_buffer buffer;
    PyObject *got;
    long epoll;
    int count, error;

    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "receive_many() takes an epoll descriptor and a buffer");
        return NULL;
    }
    epoll = PyLong_AsLong(args[0]);
    if (epoll == -1 && PyErr_Occurred())
        return NULL;
    if (PyObject_GetBuffer(args[1], &buffer, PyBUF_WRITABLE) < 0)
        return NULL;
    slot = buffer.len / SLOTS;
    if (slot == 0 || epoll < INT_MIN || epoll > INT_MAX) {
        PyBuffer_Release(&buffer);
        PyErr_SetString(PyExc_ValueError, slot == 0 ? "the buffer has no room for each" : "not a descriptor");
        return NULL;
    }

    Py_BEGIN_ALLOW_THREADS
    count = epoll_wait((int)epoll, events, SLOTS, 0);
    error = errno;
    for (int i = 0; i < count; i++) {
        sizes[i] = receive_now(&events[i], (char *)buffer.buf + i * slot, (size_t)slot);
    }
    Py_END_ALLOW_THREADS

    PyBuffer_Release(&buffer);
    if (count < 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if ((got = PyList_New(2 * (Py_ssize_t)count)) == NULL)
        return NULL;
    for (int i = 0; i < count; i++) {
        PyObject *fd = PyLong_FromLong(events[i].data.fd), *size = PyLong_FromSsize_t(sizes[i]);

        PyList_SET_ITEM(got, 2 * i, fd);
        PyList_SET_ITEM(got, 2 * i + 1, size);
        if (fd == NULL || size == NULL) {
            Py_DECREF(got);
            return NULL;
        }
    }
    return got;
}

static PyMethodDef functions[] = {
    {"receive_many", (PyCFunction)(void (*)(void))receive_many, METH_FASTCALL,
     "receive_many($module, epoll, buffer, /)\n--\n\n"
     "Read from sockets of an epoll set that are ready, at most SLOTS, each into its part of the buffer.\n"
     "Their descriptors and sizes, in turn: -1 when there was nothing, 0 where the end, an error or urgent\n"
     "data is near, and nothing was read."},
    {NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fastws.loop._recv",
    .m_doc = "recv(2) from many sockets.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit__recv(void)
{
    PyObject *made = PyModule_Create(&module);

    if (made != NULL && PyModule_AddIntConstant(made, "SLOTS", SLOTS) < 0)
        Py_CLEAR(made);
    return made;
}
