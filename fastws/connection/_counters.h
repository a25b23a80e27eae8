/* The counters of one server, and the object that every connection of it writes to. */
#ifndef FASTWS_COUNTERS_H
#define FASTWS_COUNTERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* In the order of their places in memory, which processes share. fastws/connection/counters.py has the same list. */
#define FOR_EACH_COUNTER(DO) \
    DO(connections) \
    DO(http_responses) \
    DO(websockets_opened) \
    DO(websockets_closed) \
    DO(messages_received) \
    DO(messages_sent) \
    DO(messages_dropped) \
    DO(bytes_received) \
    DO(bytes_sent) \
    DO(evicted) \
    DO(limited) \
    DO(dropped_oldest) \
    DO(dropped_newest) \
    DO(queue_bytes)

/* Each has 64 bits and lies at a multiple of 8 bytes: one process writes it, and others read all of it or none. */
typedef struct {
#define DECLARE(name) long long name;
    FOR_EACH_COUNTER(DECLARE)
#undef DECLARE
} CounterRow;

/* What ends WebSockets: each code of the protocol, first by the server, then by the client, and 3xxx and 4xxx of
 * clients. counters.py has the same. */
enum { FIRST_CODE = 1000, CODES = 16, FREE_CODES = 2 * CODES, CLOSES = FREE_CODES + 2 };

typedef struct {
    PyObject_HEAD
    CounterRow *row;        /* own, or in memory that processes share */
    CounterRow base;        /* what stood there before this server began */
    CounterRow own;
    Py_buffer memory;       /* of the row, where it is shared */
    long long *closes;      /* of CLOSES; NULL: nobody asks for them */
    Py_buffer closes_memory;
} CountersObject;

#endif
