# Types of _counters.c, for the compiled modules that write to the counters.

cdef extern from "fastws/connection/_counters.h":
    ctypedef struct CounterRow:
        long long connections
        long long http_responses
        long long websockets_opened
        long long websockets_closed
        long long messages_received
        long long messages_sent
        long long messages_dropped
        long long bytes_received
        long long bytes_sent
        long long evicted
        long long limited
        long long dropped_oldest
        long long dropped_newest
        long long queue_bytes

    ctypedef class fastws.connection._counters.Counters [object CountersObject]:
        cdef CounterRow *row
