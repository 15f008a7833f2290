# cython: language_level=3
# distutils: language = c++
"""What `_switch` needs of `_retained`."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libcpp cimport bool as flag
from libcpp.string cimport string
from libcpp.vector cimport vector

cdef extern from "<string_view>" namespace "std" nogil:
    cdef cppclass string_view:
        string_view()
        string_view(const char *, size_t)

cdef extern from "_retained.hpp" namespace "fabric" nogil:
    cdef cppclass CTour "fabric::Tour":
        string topic, nonce
        CTour()
        CTour(string_view, string_view, vector[string], flag)

    cdef cppclass CErrand "fabric::Errand":
        int place
        flag answers, claims
        string token
        CTour tour

    cdef cppclass CTable "fabric::Table":
        uint64_t verdicts[7]
        uint64_t yielded, forgotten, confirmed, batches
        size_t values, value_bytes, tombstones, tombstone_bytes
        vector[string] notices
        CTable(size_t, size_t)
        int take(string_view, int64_t, uint64_t, uint32_t)
        void sweep(int64_t, size_t)
        flag hear(string_view, int64_t, uint64_t)
        flag next(CTour &, int64_t, string &)
        flag next_claims(CTour &, string &)
        flag take_claims(string_view, string &)
        flag has_claims()
        flag claims_are_many()
        void drop_claims()

cdef class Table:
    cdef CTable *table
