# Types for the compiled build of fragments.py; the source itself stays plain Python.
cdef int TEXT, BINARY, CONTINUATION
