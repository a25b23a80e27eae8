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
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "../protocol/_bytes.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0      /* Python ignores SIGPIPE wherever the flag is missing */
#endif

/* Sockets that need no allocation. */
enum { FEW = 256 };

typedef struct {
    int fd;
    Py_ssize_t taken;       /* bytes, or -errno */
} Target;

/* Bytes taken; 0 when the socket takes none now; -errno. */
static Py_ssize_t
send_now(int fd, const char *data, Py_ssize_t size, int flags)
{
    Py_ssize_t taken;

    do {
        taken = send(fd, data, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT | flags);
    } while (taken < 0 && errno == EINTR);
    if (taken >= 0)
        return taken;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
}

/* A closed socket's -1 is let through: the kernel answers EBADF. */
static int
as_descriptor(PyObject *number, int *fd)
{
    long value;

    /* Every descriptor is an int of one digit. To read that takes a tenth of what PyLong_AsLong() takes. */
#if PY_VERSION_HEX < 0x030C0000
    if (PyLong_CheckExact(number) && Py_SIZE(number) == 1) {
        *fd = (int)((PyLongObject *)number)->ob_digit[0];
        return 0;
    }
#else
    if (PyLong_CheckExact(number) && PyUnstable_Long_IsCompact((PyLongObject *)number)) {
        value = (long)PyUnstable_Long_CompactValue((PyLongObject *)number);
        if (value >= 0 && value <= INT_MAX) {
            *fd = (int)value;
            return 0;
        }
    }
#endif
    value = PyLong_AsLong(number);
    if (value == -1 && PyErr_Occurred())
        return -1;
    if (value < -1 || value > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "not a descriptor");
        return -1;
    }
    *fd = (int)value;
    return 0;
}

/* ---- What one connection says in one turn ------------------------------------------------------ */

/* One item of a turn: bytes of its own, and the header of the frame that goes before them. */
typedef struct {
    const char *data;
    Py_ssize_t size;
    const uint8_t *mask;    /* four bytes, or NULL */
    unsigned char header[14];
    int header_size;
} Piece;

/* Messages to this size in all are put together here, under the GIL, instead of in a new object. */
enum { SCRATCH = 64 * 1024 };
static char scratch[SCRATCH];

/* The header of an unmasked frame that is a whole message (RFC 6455, section 5.2). */
static int
write_header(unsigned char *header, int opcode, Py_ssize_t size)
{
    header[0] = (unsigned char)(0x80 | opcode);
    if (size <= 125) {
        header[1] = (unsigned char)size;
        return 2;
    }
    if (size <= 0xFFFF) {
        header[1] = 126;
        header[2] = (unsigned char)(size >> 8);
        header[3] = (unsigned char)size;
        return 4;
    }
    header[1] = 127;
    for (int i = 0; i < 8; i++) {
        header[2 + i] = (unsigned char)((uint64_t)size >> (56 - 8 * i));
    }
    return 10;
}

/* A str is a text message (ASCII only), bytes are a binary one; a tuple holds a frame made before, or a message and
 * the key that masks it (section 5.3). */
static int
as_piece(PyObject *item, Piece *piece)
{
    piece->mask = NULL;
    if (PyTuple_CheckExact(item) && PyTuple_GET_SIZE(item) == 2) {
        PyObject *key = PyTuple_GET_ITEM(item, 1);
        if (PyBytes_CheckExact(key) && PyBytes_GET_SIZE(key) == 4 && !PyTuple_Check(PyTuple_GET_ITEM(item, 0))) {
            if (as_piece(PyTuple_GET_ITEM(item, 0), piece) < 0)
                return -1;
            piece->mask = (const uint8_t *)PyBytes_AS_STRING(key);
            piece->header[1] |= 0x80;
            memcpy(piece->header + piece->header_size, piece->mask, 4);
            piece->header_size += 4;
            return 0;
        }
    }
    if (PyUnicode_CheckExact(item) && PyUnicode_IS_READY(item) && PyUnicode_IS_COMPACT_ASCII(item)) {
        piece->data = (const char *)PyUnicode_1BYTE_DATA(item);
        piece->size = PyUnicode_GET_LENGTH(item);
        piece->header_size = write_header(piece->header, 1, piece->size);
        return 0;
    }
    if (PyBytes_CheckExact(item)) {
        piece->data = PyBytes_AS_STRING(item);
        piece->size = PyBytes_GET_SIZE(item);
        piece->header_size = write_header(piece->header, 2, piece->size);
        return 0;
    }
    if (PyTuple_CheckExact(item) && PyTuple_GET_SIZE(item) == 1 && PyBytes_Check(PyTuple_GET_ITEM(item, 0))) {
        piece->data = PyBytes_AS_STRING(PyTuple_GET_ITEM(item, 0));
        piece->size = PyBytes_GET_SIZE(PyTuple_GET_ITEM(item, 0));
        piece->header_size = 0;
        return 0;
    }
    PyErr_SetString(PyExc_TypeError, "an item is ASCII str, bytes, or a tuple with a frame or with one of those and a mask");
    return -1;
}

static char *
put_piece(char *to, const Piece *piece)
{
    memcpy(to, piece->header, (size_t)piece->header_size);
    to += piece->header_size;
    if (piece->mask != NULL) {
        copy_masked((uint8_t *)to, (const uint8_t *)piece->data, (size_t)piece->size, piece->mask);
    }
    else {
        memcpy(to, piece->data, (size_t)piece->size);
    }
    return to + piece->size;
}

/* (bytes in all, bytes taken or -errno, the rest). */
static PyObject *
not_all(Py_ssize_t total, Py_ssize_t taken, const char *data)
{
    Py_ssize_t from = taken > 0 ? taken : 0;

    return Py_BuildValue("nny#", total, taken, data + from, taken < 0 ? (Py_ssize_t)0 : total - from);
}

/* What the socket did not take of a large message: its own bytes, not a copy of them. */
typedef struct {
    PyObject_HEAD
    PyObject *owner;
    const char *data;
    Py_ssize_t size;
} Rest;

static int
rest_getbuffer(Rest *self, Py_buffer *view, int flags)
{
    return PyBuffer_FillInfo(view, (PyObject *)self, (void *)self->data, self->size, 1, flags);
}

static void
rest_dealloc(Rest *self)
{
    Py_DECREF(self->owner);
    PyObject_Free(self);
}

static PyBufferProcs rest_buffer = {.bf_getbuffer = (getbufferproc)rest_getbuffer};

static PyTypeObject RestType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fastws.loop._send.Rest",
    .tp_basicsize = sizeof(Rest),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)rest_dealloc,
    .tp_as_buffer = &rest_buffer,
};

/* A read-only memoryview of bytes that belong to `owner`. */
static PyObject *
view_of(PyObject *owner, const char *data, Py_ssize_t size)
{
    Rest *rest = PyObject_New(Rest, &RestType);
    PyObject *view;

    if (rest == NULL)
        return NULL;
    rest->owner = Py_NewRef(owner);
    rest->data = data;
    rest->size = size;
    view = PyMemoryView_FromObject((PyObject *)rest);
    Py_DECREF(rest);
    return view;
}

/* One large item: its header and its own bytes, without putting them together. */
static PyObject *
send_large(int fd, PyObject *item, const Piece *piece)
{
    struct iovec parts[2] = {
        {(void *)piece->header, (size_t)piece->header_size},
        {(void *)piece->data, (size_t)piece->size},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    Py_ssize_t total = piece->header_size + piece->size, taken;
    PyObject *rest;

    Py_BEGIN_ALLOW_THREADS
    do {
        taken = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (taken < 0 && errno == EINTR);
    if (taken < 0)
        taken = errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
    Py_END_ALLOW_THREADS
    if (taken == total)
        return PyLong_FromSsize_t(total);
    if (taken < 0)
        return Py_BuildValue("nny", total, taken, "");
    if (taken >= piece->header_size) {
        rest = view_of(item, piece->data + taken - piece->header_size, total - taken);
        return rest == NULL ? NULL : Py_BuildValue("nnN", total, taken, rest);
    }
    rest = PyBytes_FromStringAndSize(NULL, total - taken);
    if (rest == NULL)
        return NULL;
    memcpy(PyBytes_AS_STRING(rest), piece->header + taken, (size_t)(piece->header_size - taken));
    memcpy(PyBytes_AS_STRING(rest) + piece->header_size - taken, piece->data, (size_t)piece->size);
    return Py_BuildValue("nnN", total, taken, rest);
}

/* A large item that is masked on its way goes in parts: what has just been written to one is in the processor's cache
 * when the kernel reads it. A multiple of four, so that each begins with the first byte of the key. */
enum { PART = 128 * 1024 };

#ifndef MSG_MORE
#define MSG_MORE 0
#endif

/* What the socket did not take of it: bytes. */
static PyObject *
masked_rest(const Piece *piece, Py_ssize_t taken)
{
    Py_ssize_t header = taken < piece->header_size ? piece->header_size - taken : 0;
    Py_ssize_t from = header ? 0 : taken - piece->header_size;
    PyObject *rest = PyBytes_FromStringAndSize(NULL, header + piece->size - from);
    uint8_t *to;
    uint64_t rotated = mask_word(piece->mask, (size_t)from);

    if (rest == NULL)
        return NULL;
    to = (uint8_t *)PyBytes_AS_STRING(rest);
    memcpy(to, piece->header + piece->header_size - header, (size_t)header);
    copy_masked(to + header, (const uint8_t *)piece->data + from, (size_t)(piece->size - from), (uint8_t *)&rotated);
    return rest;
}

static PyObject *
send_masked(int fd, const Piece *piece)
{
    Py_ssize_t total = piece->header_size + piece->size, taken = 0, masked = 0, got, size, n;
    uint8_t *part = PyMem_RawMalloc(PART + sizeof piece->header);

    if (part == NULL)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    memcpy(part, piece->header, (size_t)piece->header_size);
    size = piece->header_size;
    do {
        n = piece->size - masked < PART ? piece->size - masked : PART;
        copy_masked(part + size, (const uint8_t *)piece->data + masked, (size_t)n, piece->mask);
        masked += n;
        size += n;
        got = send_now(fd, (const char *)part, size, masked < piece->size ? MSG_MORE : 0);
        taken = got < 0 ? got : taken + got;
        n = size;
        size = 0;
    } while (got == n && masked < piece->size);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(part);
    if (taken == total)
        return PyLong_FromSsize_t(total);
    if (taken < 0)
        return Py_BuildValue("nny", total, taken, "");
    return Py_BuildValue("nnN", total, taken, masked_rest(piece, taken));
}

/* Everything that as_piece() takes as a message of its own. */
static PyObject *
is_item(PyObject *Py_UNUSED(module), PyObject *message)
{
    int ascii = PyUnicode_CheckExact(message) && PyUnicode_IS_READY(message) && PyUnicode_IS_COMPACT_ASCII(message);

    return PyBool_FromLong(ascii || PyBytes_CheckExact(message));
}

static PyObject *
send_items(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *one, **items = &one, *joined = NULL, *result;
    Py_ssize_t count = 1, total = 0, taken;
    Piece piece;
    char *data = scratch, *end;
    int fd;

    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "send_items() takes a descriptor and an item or a list of them");
        return NULL;
    }
    if (as_descriptor(args[0], &fd) < 0)
        return NULL;
    one = args[1];
    if (PyList_CheckExact(args[1])) {
        items = ((PyListObject *)args[1])->ob_item;
        count = PyList_GET_SIZE(args[1]);
        one = count == 1 ? items[0] : NULL;
    }
    /* 1. How much is it? No code of Python's runs from here to the send, so the list stays as it is. */
    for (Py_ssize_t i = 0; i < count; i++) {
        if (as_piece(items[i], &piece) < 0)
            return NULL;
        total += piece.header_size + piece.size;
    }
    if (count == 1 && total > SCRATCH)
        return piece.mask != NULL ? send_masked(fd, &piece) : send_large(fd, one, &piece);

    /* 2. Put it together. */
    if (total > SCRATCH) {
        if ((joined = PyBytes_FromStringAndSize(NULL, total)) == NULL)
            return NULL;
        data = PyBytes_AS_STRING(joined);
    }
    end = data;
    for (Py_ssize_t i = 0; i < count; i++) {
        as_piece(items[i], &piece);
        end = put_piece(end, &piece);
    }

    /* 3. Send it. What is in the scratch needs the GIL for as long as it is looked at. */
    if (joined == NULL) {
        taken = send_now(fd, data, total, 0);
    }
    else {
        Py_BEGIN_ALLOW_THREADS
        taken = send_now(fd, data, total, 0);
        Py_END_ALLOW_THREADS
    }
    result = taken == total ? PyLong_FromSsize_t(total) : not_all(total, taken, data);
    Py_XDECREF(joined);
    return result;
}

/* ---- The same bytes to many -------------------------------------------------------------------- */

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
        targets[i].taken = send_now(targets[i].fd, bytes, size, 0);
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
    {"is_item", is_item, METH_O,
     "is_item($module, message, /)\n--\n\n"
     "True for bytes and for a str of ASCII: what send_items() takes as a message."},
    {"send_items", (PyCFunction)(void (*)(void))send_items, METH_FASTCALL,
     "send_items($module, fd, items, /)\n--\n\n"
     "Send one item or a list of them in one go: bytes in all if the socket took everything, else a tuple\n"
     "of that, the bytes taken (or -errno), and the rest (bytes, or a view of a large message). An ASCII\n"
     "str goes as an unmasked text message, bytes as a binary one, the bytes in a tuple as they are."},
    {"send_many", (PyCFunction)(void (*)(void))send_many, METH_FASTCALL,
     "send_many($module, fds, data, /)\n--\n\n"
     "Send the same bytes to each; (index, bytes taken or -errno) of those that did not take all, or None."},
    {NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fastws.loop._send",
    .m_doc = "send(2) to one socket, or of the same bytes to many.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit__send(void)
{
    if (PyType_Ready(&RestType) < 0)
        return NULL;
    return PyModule_Create(&module);
}
