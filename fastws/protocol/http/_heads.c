/* Reads the head of a request to upgrade in one pass (RFC 9112, section 3; RFC 6455, section 4.2.1).
 *
 * It accepts only heads that strict_head.py, h11 and check_upgrade accept, and of those only the usual form.
 * For a bad, incomplete or unusual head it returns None, and those three decide; tests/protocol compares the two
 * ways. A function of bytes: no I/O, no state, no reference to its input is kept.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* Where an octet is allowed. '#' is not in TARGET: a target has no fragment. */
enum { TCHAR = 1, TEXT = 2, TARGET = 4, HOST = 8, BASE64 = 16, HEX_COLON = 32 };
static uint8_t kinds[256];

static void
mark(const char *octets, uint8_t kind)
{
    for (; *octets; octets++) {
        kinds[(uint8_t)*octets] |= kind;
    }
}

static void
fill_kinds(void)
{
    for (int c = 0; c < 256; c++) {
        int letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), digit = c >= '0' && c <= '9';
        if (letter || digit)
            kinds[c] = TCHAR | HOST | BASE64;
        if ((c >= 0x20 && c != 0x7F) || c == '\t')
            kinds[c] |= TEXT;
        if (c > 0x20 && c < 0x7F && c != '#')
            kinds[c] |= TARGET;
    }
    mark("!#$%&'*+-.^_`|~", TCHAR);
    mark("._~!$&'()*+,;=%-", HOST);
    mark("+/", BASE64);
    mark("0123456789abcdefABCDEF:.", HEX_COLON);
}

typedef struct {
    const uint8_t *data;    /* NULL: there was no such field */
    Py_ssize_t size;
} Span;

typedef struct {
    Span host, upgrade, version, key, origin, extensions, subprotocols;
    int connection;         /* a Connection field lists "upgrade" */
    int forwarded;          /* there is an X-Forwarded-For, an X-Forwarded-Proto or a Forwarded */
} Fields;

/* `word` has only lower-case letters and '-'. Of the octets of a token no others than these and their upper case
 * become them by | 0x20. */
static int
is_word(const uint8_t *data, Py_ssize_t size, const char *word)
{
    for (Py_ssize_t i = 0; i < size; i++) {
        if ((data[i] | 0x20) != (uint8_t)word[i])
            return 0;
    }
    return 1;
}

static int
is_name(Span span, const char *name)
{
    return span.size == (Py_ssize_t)strlen(name) && is_word(span.data, span.size, name);
}

static Span
stripped(const uint8_t *from, const uint8_t *to)
{
    while (from < to && (*from == ' ' || *from == '\t')) {
        from++;
    }
    while (to > from && (to[-1] == ' ' || to[-1] == '\t')) {
        to--;
    }
    return (Span){from, to - from};
}

/* Whether a comma-separated list has the token. */
static int
lists(Span value, const char *token)
{
    const uint8_t *p = value.data, *end = value.data + value.size;

    while (p <= end) {
        const uint8_t *comma = p < end ? memchr(p, ',', (size_t)(end - p)) : NULL;
        if (comma == NULL) {
            comma = end;
        }
        if (is_name(stripped(p, comma), token))
            return 1;
        p = comma + 1;
    }
    return 0;
}

/* RFC 9112, section 3.2, as in strict_head.py: a name or an address in brackets, and perhaps a port. */
static int
is_host(Span host)
{
    const uint8_t *p = host.data, *end = host.data + host.size;

    if (p < end && *p == '[') {
        const uint8_t *first = ++p;
        while (p < end && kinds[*p] & HEX_COLON) {
            p++;
        }
        if (p == first || p == end || *p++ != ']')
            return 0;
    }
    else {
        while (p < end && kinds[*p] & HOST) {
            p++;
        }
    }
    if (p == end)
        return 1;
    if (*p++ != ':' || end - p > 5)
        return 0;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9')
            return 0;
    }
    return 1;
}

/* RFC 6455, section 4.2.1, item 5: base64 of 16 bytes. */
static int
is_key(Span key)
{
    if (key.size != 24 || key.data[22] != '=' || key.data[23] != '=')
        return 0;
    for (int i = 0; i < 22; i++) {
        if (!(kinds[key.data[i]] & BASE64))
            return 0;
    }
    return 1;
}

/* Store the value of a field that may come only once; false when it came before. */
static int
once(Span *place, Span value)
{
    int first = place->data == NULL;

    *place = value;
    return first;
}

/* Store a field that matters; false when the head has to be read the other way. */
static int
take_field(Fields *fields, Span name, Span value)
{
    switch (name.size) {
    case 4:
        return !is_name(name, "host") || once(&fields->host, value);
    case 6:
        if (is_name(name, "origin"))
            return once(&fields->origin, value);
        return !is_name(name, "expect");
    case 7:
        return !is_name(name, "upgrade") || once(&fields->upgrade, value);
    case 9:
        fields->forwarded |= is_name(name, "forwarded");
        return 1;
    case 10:
        if (is_name(name, "connection")) {
            fields->connection |= lists(value, "upgrade");
        }
        return 1;
    case 14:
        return !is_name(name, "content-length");
    case 15:
        fields->forwarded |= is_name(name, "x-forwarded-for");
        return 1;
    case 17:
        if (is_name(name, "sec-websocket-key"))
            return once(&fields->key, value);
        fields->forwarded |= is_name(name, "x-forwarded-proto");
        return !is_name(name, "transfer-encoding");
    case 21:
        return !is_name(name, "sec-websocket-version") || once(&fields->version, value);
    case 22:
        return !is_name(name, "sec-websocket-protocol") || once(&fields->subprotocols, value);
    case 24:
        return !is_name(name, "sec-websocket-extensions") || once(&fields->extensions, value);
    default:
        return 1;
    }
}

/* Return the end of the request line; NULL for a line, or an encoded path, that has to be read the other way. */
static const uint8_t *
read_line(const uint8_t *p, const uint8_t *end, Span *target, Span *path)
{
    static const char version[] = " HTTP/1.1\r\n";

    path->size = -1;
    if (end - p < 5 || memcmp(p, "GET /", 5))
        return NULL;
    target->data = path->data = p += 4;
    for (; p < end && kinds[*p] & TARGET; p++) {
        if (path->size >= 0)
            continue;
        if (*p == '%')
            return NULL;
        if (*p == '?') {
            path->size = p - path->data;
        }
    }
    target->size = p - target->data;
    if (path->size < 0) {
        path->size = target->size;
    }
    if (end - p < (Py_ssize_t)sizeof version - 1 || memcmp(p, version, sizeof version - 1))
        return NULL;
    return p + sizeof version - 1;
}

/* Return the end of the head, or NULL. `limits`: bytes of a line without its CRLF, and the number of fields. */
static const uint8_t *
read_head(const uint8_t *p, const uint8_t *end, const Py_ssize_t limits[2], Span *target, Span *path,
          Fields *fields)
{
    const uint8_t *line = p, *name_end;
    Py_ssize_t count = 0;

    if ((p = read_line(p, end, target, path)) == NULL || p - line - 2 > limits[0])
        return NULL;
    for (;;) {
        line = p;
        while (p < end && kinds[*p] & TCHAR) {
            p++;
        }
        name_end = p;
        if (p == line)
            break;
        if (p == end || *p++ != ':')
            return NULL;
        while (p < end && kinds[*p] & TEXT) {
            p++;
        }
        if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
            return NULL;
        if (p - line > limits[0] || ++count > limits[1])
            return NULL;
        if (!take_field(fields, (Span){line, name_end - line}, stripped(name_end + 1, p)))
            return NULL;
        p += 2;
    }
    return end - p >= 2 && p[0] == '\r' && p[1] == '\n' ? p + 2 : NULL;
}

static int
may_upgrade(const Fields *fields)
{
    return fields->connection && fields->host.data != NULL && is_host(fields->host)
        && fields->upgrade.data != NULL && lists(fields->upgrade, "websocket")
        && fields->version.data != NULL && fields->version.size == 2 && !memcmp(fields->version.data, "13", 2)
        && fields->key.data != NULL && is_key(fields->key);
}

/* A new reference: the text of the field, None for a field that is missing. */
static PyObject *
text(Span span)
{
    if (span.data == NULL)
        return Py_NewRef(Py_None);
    return PyUnicode_DecodeLatin1((const char *)span.data, span.size, NULL);
}

/* A new reference: the parts of a head of `size` bytes; NULL with an exception set. */
static PyObject *
as_tuple(const uint8_t *head, Py_ssize_t size, Span target, Span path, const Fields *fields)
{
    PyObject *result = PyTuple_New(9);
    int index;

    if (result == NULL)
        return NULL;
    PyTuple_SET_ITEM(result, 0, PyBytes_FromStringAndSize((const char *)head, size));
    PyTuple_SET_ITEM(result, 1, text(target));
    PyTuple_SET_ITEM(result, 2, path.size == target.size ? Py_XNewRef(PyTuple_GET_ITEM(result, 1)) : text(path));
    PyTuple_SET_ITEM(result, 3, text(fields->key));
    PyTuple_SET_ITEM(result, 4, text(fields->host));
    PyTuple_SET_ITEM(result, 5, text(fields->origin));
    PyTuple_SET_ITEM(result, 6, text(fields->extensions));
    PyTuple_SET_ITEM(result, 7, text(fields->subprotocols));
    PyTuple_SET_ITEM(result, 8, PyBool_FromLong(fields->forwarded));
    for (index = 0; index < 9; index++) {
        if (PyTuple_GET_ITEM(result, index) == NULL) {
            Py_DECREF(result);
            return NULL;
        }
    }
    return result;
}

static PyObject *
read_upgrade(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    Py_buffer view;
    Py_ssize_t numbers[4], size, max_head;
    const uint8_t *data, *end;
    Span target, path;
    Fields fields = {0};
    PyObject *result;
    int index;

    if (count != 5)
        return PyErr_Format(PyExc_TypeError, "read_upgrade takes 5 arguments, not %zd", count);
    for (index = 0; index < 4; index++) {
        numbers[index] = PyNumber_AsSsize_t(args[index + 1], PyExc_OverflowError);
        if (numbers[index] == -1 && PyErr_Occurred())
            return NULL;
    }
    if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;
    size = numbers[0];
    max_head = numbers[1];
    if (size < 0 || size > view.len) {
        PyBuffer_Release(&view);
        PyErr_SetString(PyExc_ValueError, "the size is not that of a part of the data");
        return NULL;
    }
    data = view.buf;
    if (max_head < 0) {
        max_head = 0;
    }
    end = read_head(data, data + (size < max_head ? size : max_head), numbers + 2, &target, &path, &fields);
    if (end == NULL || !may_upgrade(&fields)) {
        result = Py_NewRef(Py_None);
    }
    else {
        result = as_tuple(data, end - data, target, path, &fields);
    }
    PyBuffer_Release(&view);
    return result;
}

static PyMethodDef functions[] = {
    {"read_upgrade", (PyCFunction)(void (*)(void))read_upgrade, METH_FASTCALL,
     "read_upgrade($module, data, size, max_head_size, max_line_size, max_headers, /)\n--\n\n"
     "Return the head with which the first `size` bytes begin, its target, path, key, host, origin, extensions\n"
     "and subprotocols as text, None for a field that is missing, and whether X-Forwarded-For or -Proto is\n"
     "among the fields. None: not a plain, complete and valid request to upgrade."},
    {NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fastws.protocol.http._heads",
    .m_doc = "Reads the head of a request to upgrade in one pass.",
    .m_size = 0,
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit__heads(void)
{
    fill_kinds();
    return PyModule_Create(&module);
}
