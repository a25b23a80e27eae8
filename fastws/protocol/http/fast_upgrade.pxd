# Types for the compiled build of fast_upgrade.py; the source itself stays plain Python.
from fastws.protocol.http.messages cimport Request

cpdef Request read_upgrade(object data, Py_ssize_t size, object limits)
