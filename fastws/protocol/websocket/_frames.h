/* What the parts of the C engine share: the reader, and small functions that must be inlined.
 *
 * The engine turns bytes into WebSocket events and payloads into frames (RFC 6455, section 5). Its twin is
 * engine_wsproto.py: for the same input both give the same events, codes and bytes, wherever the input is
 * cut; tests/protocol compares them. It works on bytes only: no I/O, no clock, no logging.
 *
 *   _frames.c          the module, the Python type Reader, and its memory as a buffer
 *   _frames_scan.c     receive(): bytes to frames
 *   _frames_message.c  frames to messages
 *   _frames_event.c    what goes into the list of events
 *   _frames_encode.c   payloads to frames
 *
 * Memory: between two messages a Reader owns nothing but its struct. An incomplete header or control frame
 * (at most 131 bytes) waits in `stash`. An incomplete message grows in `message`, by the bytes that have
 * arrived and never by the length that was announced; the event is that object itself, without a copy. Where enough
 * was inflated, what is not read yet waits there instead: no message is under way then.
 *
 * Lengths: a 64-bit length is compared with the limit by a subtraction that cannot overflow, before it takes
 * part in any other arithmetic. After that check all sizes fit in Py_ssize_t.
 *
 * Sections without another number are those of RFC 6455.
 */
#ifndef FASTWS_FRAMES_H
#define FASTWS_FRAMES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../_bytes.h"

#if defined(__GNUC__) && !defined(_WIN32)
/* Parts call each other directly, not through the table of the dynamic linker. */
#pragma GCC visibility push(hidden)
#endif

/* Section 5.2: FIN, RSV and opcode in the first byte; MASK and a 7-bit length in the second. */
enum { FIN = 0x80, RSV1 = 0x40, RSV = 0x70, OPCODE = 0x0F, MASKED = 0x80, LENGTH = 0x7F };
enum { CONTINUATION = 0x0, TEXT = 0x1, BINARY = 0x2, CLOSE = 0x8, PING = 0x9, PONG = 0xA };
/* Bytes: the payload of a control frame (section 5.5), and a whole masked control frame. */
enum { MAX_CONTROL = 125, MAX_STASH = 2 + 4 + MAX_CONTROL };

#define IS_KNOWN(opcode) ((1 << (opcode)) & (1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 9 | 1 << 10))
#define IS_CONTROL(opcode) ((opcode) & 0x8)

/* Classes of fastws.protocol.websocket.events and .deflate. */
typedef struct {
    PyObject *ping, *pong, *close, *fail, *more, *inflate_error;
} Classes;

extern Classes classes;
/* INFLATED_BYTES_AHEAD of fastws.protocol.websocket.deflate. */
extern uint32_t inflated_bytes_ahead;

typedef struct {
    PyObject_HEAD
    PyObject *inflate;      /* NULL: no frame may carry RSV1 */
    PyObject *message;      /* a str or bytes that nobody else has seen, longer than `size`;
                               when stopped: the bytes that wait until the reader goes on */
    uint8_t *stash;         /* NULL: no incomplete header or control frame */
    uint64_t max_size;
    uint64_t size;          /* bytes of the message so far */
    uint64_t remaining;     /* bytes of the frame still to come, when in_frame */
    uint32_t max_fragments, max_empty;
    uint32_t fragments;     /* frames of the message so far; 0: no message */
    uint32_t empty;         /* empty frames in a row */
    uint32_t inflated;      /* bytes since the reader was made or went on */
    uint8_t mask[4];        /* rotated to the next byte to come */
    uint8_t stash_size;
    uint8_t opcode;         /* of the message */
    Utf8 utf8;
    uint8_t client : 1, ended : 1, busy : 1, in_frame : 1, fin : 1, compressed : 1, ascii : 1, stopped : 1;
} Reader;

/* The header of a frame. */
typedef struct {
    uint64_t length;
    size_t size;            /* of the header; after SHORT: how many bytes of the frame are needed */
    uint8_t opcode, fin, rsv1;
    uint8_t mask[4];
} Header;

/* OK: go on. SHORT: more bytes are needed. STOPPED: enough was inflated. ENDED: a Close or Fail is in the list.
 * ERROR: exception. */
typedef enum { OK, SHORT, STOPPED, ENDED, ERROR } Status;

/* _frames_event.c */
void drop_stash(Reader *self);
void end_reader(Reader *self);
Status fail_reader(Reader *self, PyObject *events, int code, const char *reason);
Status take_control(Reader *self, PyObject *events, const Header *h, const uint8_t *payload);

/* _frames_message.c */
void show_large_block(void);
int reserve(Reader *self, size_t n);
Status took_payload(Reader *self, PyObject *events, size_t n, int beyond_ascii);

/* _frames_scan.c */
PyObject *reader_receive(Reader *self, PyObject *const *args, Py_ssize_t nargs);

/* _frames_encode.c */
int take_keywords(PyObject **slots, const char *const *known, int count, PyObject *const *values, PyObject *names);
PyObject *encode(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* glibc maps and unmaps each block of this size and more until it has seen one freed: see show_large_block(). */
enum { LARGE_BLOCK = 128 * 1024 };

/* Append a new reference, which may be NULL with an exception set. */
static inline Status
append(PyObject *events, PyObject *event)
{
    if (event == NULL)
        return ERROR;
    int failed = PyList_Append(events, event);
    Py_DECREF(event);
    return failed ? ERROR : OK;
}

/* Append a complete message, a new reference; or fail if it could not be decoded (section 8.1). */
static inline Status
deliver(Reader *self, PyObject *events, PyObject *message)
{
    if (message == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return fail_reader(self, events, 1007, "invalid UTF-8");
    }
    return append(events, message);
}

/* A text grows in a str, which is the event itself if the text turns out to be ASCII; all else in bytes. */
static inline int
is_text(const Reader *self)
{
    return self->opcode == TEXT && !self->compressed;
}

/* Where the payload of the message begins. */
static inline uint8_t *
payload_of(Reader *self)
{
    return is_text(self) ? PyUnicode_DATA(self->message) : (uint8_t *)PyBytes_AS_STRING(self->message);
}

/* How many bytes the memory of the message has. */
static inline uint64_t
capacity_of(const Reader *self)
{
    return is_text(self) ? (uint64_t)PyUnicode_GET_LENGTH(self->message) : (uint64_t)PyBytes_GET_SIZE(self->message);
}

/* Bytes of a message before inflation. Deflate can make data larger: by an eighth with fixed codes, by some
 * bytes for each stored block. */
static inline uint64_t
size_limit(uint64_t max_size, int compressed)
{
    return compressed ? max_size + (max_size >> 3) + 1024 : max_size;
}

#if defined(__GNUC__) && !defined(_WIN32)
#pragma GCC visibility pop
#endif

#endif
