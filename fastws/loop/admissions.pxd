# Types for the compiled build of admissions.py; the source itself stays plain Python.
cimport cython

@cython.final
cdef class Admission:
    cdef object _admit

    cpdef give_up(self)
    cpdef bint is_wanted(self)
    cpdef admit(self)

@cython.final
cdef class Admissions:
    cdef Py_ssize_t _admitted
    cdef object _call_soon
    cdef object _waiting

    @cython.locals(most=Py_ssize_t, together=Py_ssize_t)
    cpdef bint take(self)
    cpdef Admission wait(self, object admit)
    @cython.locals(admission=Admission)
    cpdef _next_turn(self)
