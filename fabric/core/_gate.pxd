# cython: language_level=3
"""What `_switch` needs of `_gate`."""

from libc.stdint cimport int32_t, uint64_t

ctypedef unsigned char byte

cdef struct Pattern:
    const byte *at
    size_t size

cdef struct Owner:
    byte key[40]
    byte tag[4]
    Pattern *allow
    Pattern *deny
    Pattern *hold  # for what was lost, and is asked for
    Pattern *shun
    size_t allowed, denied, held, shunned

cdef struct Seat:
    byte serial[16]
    int32_t owner  # index, or one of the two below

cdef enum:
    UNKNOWN = -1  # a key of nobody
    UNSEEN = -2

cdef class Verdicts:
    cdef object gate
    cdef object keep  # the bytes that patterns point into
    cdef Owner *owners
    cdef size_t count
    cdef Seat *seats
    cdef size_t room

    cdef void forget(self) noexcept
    cdef Seat *seat(self, int descriptor) noexcept nogil
    cdef bint meet(self, Seat *seat, int place, int descriptor, const char *user) noexcept nogil
    cdef void see(self, int place, int descriptor, const char *user) noexcept nogil
    cdef int judge(self, int descriptor, const char *user, const byte *topic, size_t size, const byte *body, size_t rest) noexcept nogil
