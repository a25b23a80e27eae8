# Types for the compiled build of hub_shared.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication
from fastws.pubsub.fanout cimport FanOut
from fastws.pubsub.hub_keyed cimport HubKeyed

cdef class HubShared(HubKeyed):
    pass
