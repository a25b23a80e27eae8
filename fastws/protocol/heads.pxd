# Types for the compiled build of heads.py; the source itself stays plain Python.

cpdef object read_upgrade(object data, Py_ssize_t size, object limits)
