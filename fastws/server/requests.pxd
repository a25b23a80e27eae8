# Types for the compiled build of requests.py; the source itself stays plain Python.
from fastws.connection.connection cimport Connection
from fastws.protocol.http.messages cimport Request
from fastws.server.site cimport Site

cpdef object admit(Site site, Connection connection, Request request)
