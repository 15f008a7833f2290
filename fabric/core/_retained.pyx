# cython: language_level=3
# distutils: language = c++
"""The table of retained values, compiled: see its twin, `retained.py`. The work is in `_retained.hpp`, which the switch
calls without the GIL."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libcpp.string cimport string
from libcpp.vector cimport vector

from fabric.core import retained

assert (retained.BATCH_BYTES, retained.MOST_IN_BATCH, retained.EACH_BYTES) == (65_536, 10_000, 256)
assert (retained.AHEAD_NS, retained.TOMBSTONE_S, len(retained.VERDICTS)) == (60_000_000_000, 180, 7)
assert (retained.TAIL, retained.TAIL_BYTES) == (b"\xa6retain\xce", 12)


cdef string_view view(bytes given):
    return string_view(<const char *>given, len(given))


cdef class Tour:
    """See the twin."""

    cdef CTour tour

    def __init__(self, bytes topic, bytes nonce, prefixes, *, everything=False):
        cdef vector[string] wanted
        for each in prefixes:
            wanted.push_back(each)
        self.tour = CTour(view(topic), view(nonce), wanted, everything)


cdef class Table:
    """See the twin."""

    def __cinit__(self, size_t max_topics=retained.MAX_TOPICS, size_t max_bytes=retained.MAX_BYTES):
        self.table = new CTable(max_topics, max_bytes)

    def __dealloc__(self):
        del self.table

    def figures(self):
        """See the twin. Each figure is read as it is at this moment."""
        found = {
            "values": self.table.values,
            "value_bytes": self.table.value_bytes,
            "tombstones": self.table.tombstones,
            "tombstone_bytes": self.table.tombstone_bytes,
        }
        for i, name in enumerate(retained.VERDICTS):
            found[name] = self.table.verdicts[i]
        found |= {"yielded": self.table.yielded, "forgotten": self.table.forgotten}
        found |= {"confirmed": self.table.confirmed, "batches": self.table.batches}
        return found

    def take(self, bytes part, int64_t now_us, uint64_t wall_ns, uint32_t age_s=0):
        """See the twin."""
        return retained.VERDICTS[self.table.take(view(part), now_us, wall_ns, age_s)]

    def sweep(self, int64_t now_us, size_t most):
        """See the twin."""
        self.table.sweep(now_us, most)

    def next(self, Tour tour, int64_t now_us):
        """See the twin."""
        cdef string part
        ended = self.table.next(tour.tour, now_us, part)
        return <bytes>part, ended

    def next_claims(self, Tour tour):
        """See the twin."""
        cdef string part
        ended = self.table.next_claims(tour.tour, part)
        return <bytes>part, ended

    def hear(self, bytes body, int64_t now_us, uint64_t wall_ns):
        """See the twin."""
        return self.table.hear(view(body), now_us, wall_ns)

    def take_claims(self, bytes topic):
        """See the twin."""
        cdef string part
        return <bytes>part if self.table.take_claims(view(topic), part) else None

    def take_notices(self):
        """See the twin."""
        found = [<bytes>each for each in self.table.notices]
        self.table.notices.clear()
        return found
