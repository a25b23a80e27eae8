# Types for the compiled build of notes.py; the source itself stays plain Python.
cimport cython

cpdef bytes frame_of(bytes kept)
cpdef author_of(bytes kept)
