/* send(2) for the flusher: one socket, or the same bytes to many, straight from C.
 *
 * Which descriptors may be written so is the flusher's business (plain TCP, nothing waiting in the
 * transport, sockets of the calling loop). Here they are only numbers; what is done without the GIL
 * touches copies alone, so that no other thread can pull anything away.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0      /* Python ignores SIGPIPE wherever the flag is missing */
#endif

/* Up to this many bytes a send takes about as long as giving the GIL away and fighting for it. */
enum { SHORT_SEND = 16 * 1024 };

/* Sockets that need no allocation. */
enum { FEW = 256 };

typedef struct {
    int fd;
    Py_ssize_t taken;       /* bytes, or -errno */
} Target;

/* Bytes taken; 0 when the socket takes none now; -errno. */
static Py_ssize_t
send_now(int fd, const char *data, Py_ssize_t size)
{
    Py_ssize_t taken;

    do {
        taken = send(fd, data, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (taken < 0 && errno == EINTR);
    if (taken >= 0)
        return taken;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
}

/* A closed socket's -1 is let through: the kernel answers EBADF. */
static int
as_descriptor(PyObject *number, int *fd)
{
    long value = PyLong_AsLong(number);

    if (value == -1 && PyErr_Occurred())
        return -1;
    if (value < -1 || value > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "not a descriptor");
        return -1;
    }
    *fd = (int)value;
    return 0;
}

static PyObject *
send_one(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_ssize_t size, taken;
    const char *bytes;
    int fd;

    if (nargs != 2 || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "send_one() takes a descriptor and bytes");
        return NULL;
    }
    if (as_descriptor(args[0], &fd) < 0)
        return NULL;
    bytes = PyBytes_AS_STRING(args[1]);
    size = PyBytes_GET_SIZE(args[1]);
    if (size <= SHORT_SEND) {
        taken = send_now(fd, bytes, size);
    }
    else {
        Py_BEGIN_ALLOW_THREADS
        taken = send_now(fd, bytes, size);
        Py_END_ALLOW_THREADS
    }
    return PyLong_FromSsize_t(taken);
}

/* The exceptions as a list of (index, taken); None when all took everything. */
static PyObject *
exceptions(const Target *targets, Py_ssize_t count, Py_ssize_t size)
{
    PyObject *found = NULL;

    for (Py_ssize_t i = 0; i < count; i++) {
        if (targets[i].taken == size)
            continue;
        PyObject *pair = NULL;
        if (found != NULL || (found = PyList_New(0)) != NULL) {
            pair = Py_BuildValue("nn", i, targets[i].taken);
        }
        if (pair == NULL || PyList_Append(found, pair) < 0) {
            Py_XDECREF(pair);
            Py_XDECREF(found);
            return NULL;
        }
        Py_DECREF(pair);
    }
    return found != NULL ? found : Py_NewRef(Py_None);
}

static PyObject *
send_many(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Target few[FEW], *targets = few;
    Py_ssize_t count, size;
    const char *bytes;
    PyObject *result = NULL;

    if (nargs != 2 || !PyList_Check(args[0]) || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "send_many() takes a list of descriptors and bytes");
        return NULL;
    }
    bytes = PyBytes_AS_STRING(args[1]);
    size = PyBytes_GET_SIZE(args[1]);
    count = PyList_GET_SIZE(args[0]);
    if (count > FEW && (targets = PyMem_New(Target, count)) == NULL)
        return PyErr_NoMemory();

    /* 1. Copy the descriptors: the list is anybody's as soon as the GIL is free. */
    for (Py_ssize_t i = 0; i < count; i++) {
        /* Exact ints run no code of their own that could change the list. */
        PyObject *fd = PyList_GET_ITEM(args[0], i);
        if (!PyLong_CheckExact(fd)) {
            PyErr_SetString(PyExc_TypeError, "a descriptor must be an int");
            goto done;
        }
        if (as_descriptor(fd, &targets[i].fd) < 0)
            goto done;
    }

    /* 2. Write. The caller's frame holds `bytes`, which never change. */
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) {
        targets[i].taken = send_now(targets[i].fd, bytes, size);
    }
    Py_END_ALLOW_THREADS

    /* 3. Tell what did not go out whole. */
    result = exceptions(targets, count, size);
done:
    if (targets != few) {
        PyMem_Free(targets);
    }
    return result;
}

static PyMethodDef functions[] = {
    {"send_one", (PyCFunction)(void (*)(void))send_one, METH_FASTCALL,
     "send_one($module, fd, data, /)\n--\n\n"
     "Bytes taken; 0 when the socket takes none now; -errno."},
    {"send_many", (PyCFunction)(void (*)(void))send_many, METH_FASTCALL,
     "send_many($module, fds, data, /)\n--\n\n"
     "Send the same bytes to each; (index, bytes taken or -errno) of those that did not take all, or None."},
    {NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fastws._fanout",
    .m_doc = "send(2) to one socket, or of the same bytes to many.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit__fanout(void)
{
    return PyModule_Create(&module);
}
