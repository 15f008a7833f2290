# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""`fabric.core.outlet`, compiled: the same methods, the same answers. See there.

The short way never lets go of the GIL and runs no code of Python, so nothing comes between taking a number and sending
it: neither another thread nor a Ctrl-C. It need not take the lock then; that nobody holds it is enough. Containers are
packed here as well, and so take the short way, too.
"""

import zmq

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_CheckExact, PyDict_Next
from cpython.exc cimport PyErr_CheckSignals, PyErr_Clear
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.list cimport PyList_CheckExact, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int64_t, uint8_t, uint64_t, uintptr_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from fabric.core._libzmq cimport zmq_message, zmq_msg_close, zmq_msg_data, zmq_msg_init_size, zmq_msg_send

from fabric.errors import FabricError
from fabric.payloads import MAX_NESTING
from fabric.wire import FORMAT_VERSION

cdef extern from *:
    """
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "written for little-endian machines: the plain twin runs on this one"
    #endif
    static inline uint8_t *fabric_put(uint8_t *at, uint8_t head, uint64_t value, int bytes) {
        value = __builtin_bswap64(value << (64 - 8 * bytes));
        at[0] = head;
        memcpy(at + 1, &value, 8); /* up to 8 bytes too many: there is room, and the next writes over them */
        return at + 1 + bytes;
    }
    /* In the shortest form, as msgpack's packer does. At most 9 bytes. */
    static inline uint8_t *fabric_put_number(uint8_t *at, uint64_t value) {
        if (value < 0x80) { at[0] = (uint8_t)value; return at + 1; }
        if (value <= 0xff) return fabric_put(at, 0xcc, value, 1);
        if (value <= 0xffff) return fabric_put(at, 0xcd, value, 2);
        if (value <= 0xffffffffu) return fabric_put(at, 0xce, value, 4);
        return fabric_put(at, 0xcf, value, 8);
    }
    static inline uint8_t *fabric_put_negative(uint8_t *at, int64_t value) {
        if (value >= -32) { at[0] = (uint8_t)value; return at + 1; }
        if (value >= -128) return fabric_put(at, 0xd0, (uint64_t)value, 1);
        if (value >= -32768) return fabric_put(at, 0xd1, (uint64_t)value, 2);
        if (value >= -2147483648LL) return fabric_put(at, 0xd2, (uint64_t)value, 4);
        return fabric_put(at, 0xd3, (uint64_t)value, 8);
    }
    """
    uint8_t *fabric_put(uint8_t *, uint8_t, uint64_t, int) noexcept nogil
    uint8_t *fabric_put_number(uint8_t *, uint64_t) noexcept nogil
    uint8_t *fabric_put_negative(uint8_t *, int64_t) noexcept nogil

cdef extern from "pythread.h" nogil:
    ctypedef void *PyThread_type_lock
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock)
    int PyThread_acquire_lock_timed(PyThread_type_lock, long long, int)  # 1: it has it, 2: a signal came
    void PyThread_release_lock(PyThread_type_lock)
    unsigned long PyThread_get_thread_ident()

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object, object) except? NULL  # borrowed
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1
    unsigned long long PyLong_AsUnsignedLongLong(object) except? 0xffffffffffffffff
    const char *PyUnicode_AsUTF8AndSize(object, Py_ssize_t *) except NULL

cdef enum:
    HEAD_BYTES = 64  # room for what surrounds a payload, and for the eight bytes that `fabric_put` writes too many
    KEPT_SCRATCH_BYTES = 65536
    DONTWAIT = 1
    LARGE = 16384  # bytes of a part after which is counted at once what is kept
    TURN = 256  # messages between two chances for other threads, and for a Ctrl-C

cdef int NESTING = MAX_NESTING
cdef int VERSION = FORMAT_VERSION


cdef class OwnLock:
    """A lock that knows its owner, as an RLock does, and says whether anybody holds it, which an RLock does not.

    It is entered and left within one call of C each, so that no signal handler finds it held and without an owner.
    """

    cdef PyThread_type_lock inner
    cdef unsigned long owner  # ident of the thread that holds it; 0: none does. Written by that thread alone

    def __cinit__(self):
        self.inner = PyThread_allocate_lock()
        if self.inner == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.inner != NULL:
            PyThread_free_lock(self.inner)

    def acquire(self, bint blocking=True):
        """Never called by its owner, who would wait for itself."""
        cdef int got = PyThread_acquire_lock_timed(self.inner, 0, 0)
        while got != 1 and blocking:
            with nogil:
                got = PyThread_acquire_lock_timed(self.inner, -1, 1)
            if got == 2:  # a signal came
                PyErr_CheckSignals()
        if got == 1:
            self.owner = PyThread_get_thread_ident()
        return got == 1

    def release(self):
        self.owner = 0
        PyThread_release_lock(self.inner)

    def _is_owned(self):
        return self.owner == PyThread_get_thread_ident()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self.release()


cdef class Outlet:
    new_lock = OwnLock
    cdef OwnLock lock
    cdef object kept, careful, time_ns, send
    cdef list fresh
    cdef Py_ssize_t fresh_parts
    cdef size_t max_payload_bytes
    cdef void *handle  # of the socket; NULL: there is none, or `send` is to be called
    cdef public object numbering
    cdef public bint plain
    cdef uint8_t *scratch  # where a body is built
    cdef size_t room
    cdef size_t used

    def __init__(self, OwnLock lock not None, numbering, kept, fresh_parts, careful, max_payload_bytes, time_ns=None):
        self.lock, self.kept, self.careful, self.time_ns = lock, kept, careful, time_ns
        self.fresh, self.fresh_parts = kept.fresh, fresh_parts
        self.max_payload_bytes = max_payload_bytes
        self.numbering = numbering

    def __dealloc__(self):
        free(self.scratch)

    def connect(self, socket):
        self.handle, self.send = NULL, None
        if isinstance(socket, zmq.Socket):
            self.handle = <void *><uintptr_t>socket.underlying
        elif socket is not None:
            self.send = socket.send

    # ── packing ──────────────────────────────────────────────────────────────────────────────────────────────────

    cdef bint reserve(self, size_t size) except -1:
        """Make room for `size` bytes more, and `HEAD_BYTES`."""
        cdef size_t room = self.used + size + HEAD_BYTES
        cdef uint8_t *scratch
        if room <= self.room:
            return True
        room += room >> 1
        scratch = <uint8_t *>realloc(self.scratch, room)
        if scratch == NULL:
            raise MemoryError
        self.scratch, self.room = scratch, room
        return True

    cdef bint put_text(self, object text) except -1:
        """False: it holds half a surrogate pair."""
        cdef Py_ssize_t size = 0
        cdef const char *data
        try:
            data = PyUnicode_AsUTF8AndSize(text, &size)
        except UnicodeEncodeError:
            return False
        cdef uint8_t *at
        if <size_t>size > self.max_payload_bytes:
            return False
        self.reserve(size)
        at = self.scratch + self.used
        if size < 32:
            at[0] = 0xa0 | size
            at += 1
        elif size < 256:
            at = fabric_put(at, 0xd9, size, 1)
        elif size < 65536:
            at = fabric_put(at, 0xda, size, 2)
        else:
            at = fabric_put(at, 0xdb, size, 4)
        memcpy(at, data, size)
        self.used = at + size - self.scratch
        return True

    cdef bint put_bytes(self, object data) except -1:
        cdef size_t size = PyBytes_GET_SIZE(data)
        cdef uint8_t *at
        if size > self.max_payload_bytes:
            return False
        self.reserve(size)
        at = self.scratch + self.used
        if size < 256:
            at = fabric_put(at, 0xc4, size, 1)
        elif size < 65536:
            at = fabric_put(at, 0xc5, size, 2)
        else:
            at = fabric_put(at, 0xc6, size, 4)
        memcpy(at, PyBytes_AS_STRING(data), size)
        self.used = at + size - self.scratch
        return True

    cdef int put_count(self, uint8_t short_head, uint8_t head, size_t count) except -1:
        """The head of a container: of 16 bits or of 32, which follow each other; `short_head` for up to 15."""
        cdef uint8_t *at
        self.reserve(0)
        at = self.scratch + self.used
        if count < 16:
            at[0] = short_head | count
            at += 1
        elif count < 65536:
            at = fabric_put(at, head, count, 2)
        else:
            at = fabric_put(at, head + 1, count, 4)
        self.used = at - self.scratch
        return 0

    cdef bint put(self, object value, size_t end, int depth) except -1:
        """Pack a payload, in which containers nest at most `depth` deep, up to `end`; False: for the careful way.

        No code of Python runs meanwhile, so that what is packed does not change: only exact types are taken.
        """
        cdef uint8_t *at
        cdef double real
        cdef uint64_t bits
        cdef int64_t whole
        cdef int overflow = 0
        cdef Py_ssize_t place = 0, count
        cdef PyObject *key
        cdef PyObject *item
        if self.used > end:
            return False
        if PyUnicode_CheckExact(value):
            return self.put_text(value)
        if PyBytes_CheckExact(value):
            return self.put_bytes(value)
        self.reserve(9)
        at = self.scratch + self.used
        if PyLong_CheckExact(value):
            whole = PyLong_AsLongLongAndOverflow(value, &overflow)
            if overflow == 0:
                at = fabric_put_number(at, whole) if whole >= 0 else fabric_put_negative(at, whole)
            elif overflow < 0:
                return False
            else:
                try:
                    bits = PyLong_AsUnsignedLongLong(value)
                except OverflowError:
                    return False
                at = fabric_put_number(at, bits)
        elif PyFloat_CheckExact(value):
            real = PyFloat_AS_DOUBLE(value)
            memcpy(&bits, &real, 8)
            at = fabric_put(at, 0xcb, bits, 8)
        elif value is None:
            at[0] = 0xc0
            at += 1
        elif value is True:
            at[0] = 0xc3
            at += 1
        elif value is False:
            at[0] = 0xc2
            at += 1
        elif depth == 0:
            return False
        elif PyDict_CheckExact(value):
            self.put_count(0x80, 0xde, len(<dict>value))
            while PyDict_Next(value, &place, &key, &item):
                if not PyUnicode_CheckExact(<object>key) or not self.put_text(<object>key):
                    return False
                if not self.put(<object>item, end, depth - 1):
                    return False
            return self.used <= end
        elif PyList_CheckExact(value):
            count = PyList_GET_SIZE(value)
            self.put_count(0x90, 0xdc, count)
            for place in range(count):
                if not self.put(<object>PyList_GET_ITEM(value, place), end, depth - 1):
                    return False
            return self.used <= end
        elif PyTuple_CheckExact(value):
            count = PyTuple_GET_SIZE(value)
            self.put_count(0x90, 0xdc, count)
            for place in range(count):
                if not self.put(<object>PyTuple_GET_ITEM(value, place), end, depth - 1):
                    return False
            return self.used <= end
        else:
            return False
        self.used = at - self.scratch
        return True

    cdef bytes part(self, bytes prefix, uint64_t publisher, uint64_t number, object payload):
        """Return the part, or None: for the careful way."""
        cdef uint8_t *at
        cdef timespec now
        cdef size_t end
        cdef bytes made
        self.used = 0
        self.reserve(PyBytes_GET_SIZE(prefix))
        at = self.scratch
        memcpy(at, PyBytes_AS_STRING(prefix), PyBytes_GET_SIZE(prefix))
        at += PyBytes_GET_SIZE(prefix)
        at[0], at[1] = 0x95, VERSION
        at = fabric_put_number(at + 2, publisher)
        at = fabric_put_number(at, number)
        if self.time_ns is None:
            clock_gettime(CLOCK_REALTIME, &now)
            at = fabric_put_number(at, <uint64_t>now.tv_sec * 1000000000 + now.tv_nsec)
        else:
            at = fabric_put_number(at, self.time_ns())
        self.used = at - self.scratch
        # Packed, it is no longer than the limit: then the careful way, which estimates, takes it, too.
        end = self.used + self.max_payload_bytes
        if not self.put(payload, end, NESTING) or self.used > end:
            made = None
        else:
            made = PyBytes_FromStringAndSize(<const char *>self.scratch, self.used)
        if self.room > KEPT_SCRATCH_BYTES:
            free(self.scratch)
            self.scratch, self.room = NULL, 0
        return made

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────

    cdef bint send_now(self, bytes part) except -1:
        """Whether it was sent. What raises was, perhaps."""
        cdef zmq_message message
        if self.handle == NULL:
            if self.send is None:
                return False
            try:
                self.send(part)
            except zmq.ZMQError:
                return False
            return True
        if zmq_msg_init_size(&message, PyBytes_GET_SIZE(part)) < 0:
            return False
        memcpy(zmq_msg_data(&message), PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
        if zmq_msg_send(&message, self.handle, DONTWAIT) < 0:
            zmq_msg_close(&message)
            return False
        return True

    cdef object short_way(self, bytes prefix, object payload):
        """Publish, and return the number; None: it is for the careful way, and nothing has changed."""
        cdef dict numbers, recent
        cdef PyObject *last
        cdef bytes part
        cdef bint sent
        if not self.plain or self.lock.owner:
            return None
        numbering = self.numbering
        numbers = numbering.numbers
        last = PyDict_GetItemWithError(numbers, prefix)
        if last == NULL:
            return None
        before = <object>last
        number = before + 1
        part = self.part(prefix, numbering.publisher, number, payload)
        if part is None:
            return None
        # The number is taken first: whatever interrupts this, it never goes to another message.
        recent = numbering.recent
        recent[prefix] = number
        numbers[prefix] = number
        try:
            sent = self.send_now(part)
        except BaseException:
            self.fresh.append(part)  # it may be on its way, and is kept for who misses it
            raise
        if not sent:
            numbers[prefix] = before
            recent[prefix] = before
            return None
        self.fresh.append(part)
        if len(self.fresh) >= self.fresh_parts or PyBytes_GET_SIZE(part) >= LARGE:
            with self.lock:  # this is Python
                self.kept.count_fresh()
        return number

    def publish(self, bytes prefix, payload, headers=None, timeout_s=None):
        if headers is None:
            number = self.short_way(prefix, payload)
            if number is not None:
                return number
        return self.careful(prefix, payload, headers, timeout_s)

    def publish_many(self, messages, dict prefixes, otherwise, timeout_s=None):
        cdef Py_ssize_t accepted = 0
        cdef PyObject *prefix
        try:
            for topic, payload in messages:
                prefix = PyDict_GetItemWithError(prefixes, topic)
                if prefix == NULL:
                    otherwise(topic, payload, timeout_s)
                elif self.short_way(<bytes><object>prefix, payload) is None:
                    self.careful(<object>prefix, payload, None, timeout_s)
                accepted += 1
                if accepted % TURN == 0:
                    PyErr_CheckSignals()
                    with nogil:
                        pass
        except FabricError as error:
            error.accepted = accepted
            raise
        return accepted
