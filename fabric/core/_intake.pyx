# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""`fabric.core.intake`, compiled: the same methods, the same answers. See there.

Up to `BATCH` parts are taken without the GIL, and their topics looked up, in place, in a table of C. When none of them
matches anything, they are counted, and no Python has run. Else each is judged, in its order, with the GIL. A handler,
and any other thread, may change the routes meanwhile; then the table is emptied, and topics are looked up again.
"""

import os

import zmq

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.errno cimport EAGAIN, EINTR
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, nanosleep, timespec

from fabric.core._libzmq cimport (
    zmq_errno, zmq_message, zmq_msg_close, zmq_msg_data, zmq_msg_init, zmq_msg_recv, zmq_msg_size,
)

from fabric.payloads import MAX_NESTING
from fabric.wire import ENVELOPE_BYTES, FORMAT_VERSION, NO_HEADERS, Message

cdef extern from *:
    """
    static uint64_t fabric_secret[2];
    /* Keyed, and folded from 128 bits: who does not know the key cannot make topics that collide. */
    static inline uint64_t fabric_fold(uint64_t a, uint64_t b) {
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    static inline uint64_t fabric_hash(const uint8_t *p, size_t n) {
        uint64_t a, b, hash = fabric_fold(n ^ fabric_secret[0], fabric_secret[1]);
        for (; n >= 16; p += 16, n -= 16) {
            memcpy(&a, p, 8);
            memcpy(&b, p + 8, 8);
            hash = fabric_fold(a ^ fabric_secret[0], b ^ hash);
        }
        a = b = 0;
        memcpy(&a, p, n < 8 ? n : 8);
        if (n > 8) memcpy(&b, p + 8, n - 8);
        hash = fabric_fold(a ^ fabric_secret[0], b ^ hash);
        return fabric_fold(hash ^ fabric_secret[1], fabric_secret[0]);
    }
    static inline uint16_t fabric_16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
    static inline uint32_t fabric_32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
    static inline uint64_t fabric_64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "written for little-endian machines: the plain twin runs on this one"
    #endif
    static inline int fabric_flag(int *flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
    static inline void fabric_set_flag(int *flag, int value) { __atomic_store_n(flag, value, __ATOMIC_RELEASE); }
    /* A named tuple of six; steals nothing: every field gets a reference. */
    static PyObject *fabric_tuple(PyObject *type, PyObject *a, PyObject *b, PyObject *c, PyObject *d, PyObject *e,
                                  PyObject *f) {
        PyObject *made = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 6);
        if (!made) return NULL;
    #if PY_VERSION_HEX >= 0x030E0000
        ((PyTupleObject *)made)->ob_hash = -1; /* not known yet */
    #endif
        Py_INCREF(a); PyTuple_SET_ITEM(made, 0, a);
        Py_INCREF(b); PyTuple_SET_ITEM(made, 1, b);
        Py_INCREF(c); PyTuple_SET_ITEM(made, 2, c);
        Py_INCREF(d); PyTuple_SET_ITEM(made, 3, d);
        Py_INCREF(e); PyTuple_SET_ITEM(made, 4, e);
        Py_INCREF(f); PyTuple_SET_ITEM(made, 5, f);
        return made;
    }
    """
    uint64_t fabric_secret[2]
    uint64_t fabric_hash(const uint8_t *, size_t) noexcept nogil
    uint16_t fabric_16(const uint8_t *) noexcept nogil
    uint32_t fabric_32(const uint8_t *) noexcept nogil
    uint64_t fabric_64(const uint8_t *) noexcept nogil
    int fabric_flag(int *) noexcept nogil
    void fabric_set_flag(int *, int) noexcept nogil
    object fabric_tuple(object, object, object, object, object, object, object)

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object, object) except? NULL  # borrowed
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1
    object PyUnicode_DecodeUTF8(const char *, Py_ssize_t, const char *)
    PyObject *PyTuple_GET_ITEM(object, Py_ssize_t)  # borrowed

cdef enum:
    BATCH = 256  # parts taken before any is judged
    BATCH_BYTES = 1048576  # the same in bytes: few large ones
    BURST = 16  # parts judged between two looks at the clock
    DONTWAIT = 1
    SMALL_TABLE = 64

cdef int NESTING = MAX_NESTING
cdef int VERSION = FORMAT_VERSION
memcpy(fabric_secret, PyBytes_AS_STRING(os.urandom(16)), 16)


class OutOfTheWay(Exception):
    """Ends the decoding of what is not plain."""


cdef struct Record:
    uint64_t hash
    const uint8_t *topic  # the bytes of `raw`
    size_t size
    PyObject *raw  # owned, as the other two
    PyObject *route
    PyObject *publisher_object  # of `publisher`, to make it once; NULL: of none yet
    uint64_t publisher
    bint wanted  # the route has subscriptions


cdef struct Item:
    zmq_message part
    const uint8_t *data
    size_t size
    const uint8_t *nul  # where the topic ends; NULL: nowhere
    uint64_t hash
    Record *record  # NULL: not looked up, or not known


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


cdef inline const uint8_t *read_number(const uint8_t *at, const uint8_t *end, uint64_t *value) noexcept nogil:
    """Read an int that is not negative; return what is behind it, or NULL when it is none."""
    if at >= end:
        return NULL
    cdef uint8_t head = at[0]
    if head < 0x80:
        value[0] = head
        return at + 1
    if head == 0xcc and end - at >= 2:
        value[0] = at[1]
        return at + 2
    if head == 0xcd and end - at >= 3:
        value[0] = fabric_16(at + 1)
        return at + 3
    if head == 0xce and end - at >= 5:
        value[0] = fabric_32(at + 1)
        return at + 5
    if head == 0xcf and end - at >= 9:
        value[0] = fabric_64(at + 1)
        return at + 9
    return NULL


cdef inline object read_text(const uint8_t **at, const uint8_t *end, size_t head, size_t size):
    if <size_t>(end - at[0]) < head + size:
        raise OutOfTheWay
    text = PyUnicode_DecodeUTF8(<const char *>at[0] + head, size, NULL)
    at[0] += head + size
    return text


cdef inline object read_bytes(const uint8_t **at, const uint8_t *end, size_t head, size_t size):
    if <size_t>(end - at[0]) < head + size:
        raise OutOfTheWay
    found = PyBytes_FromStringAndSize(<const char *>at[0] + head, size)
    at[0] += head + size
    return found


cdef object read_list(const uint8_t **at, const uint8_t *end, size_t head, size_t count, int depth):
    """The list grows with what is there, not with what its head declares."""
    cdef list found = []
    if depth == 0:
        raise OutOfTheWay
    at[0] += head
    while count:
        found.append(read_value(at, end, depth - 1))
        count -= 1
    return found


cdef object read_map(const uint8_t **at, const uint8_t *end, size_t head, size_t count, int depth):
    cdef dict found = {}
    if depth == 0:
        raise OutOfTheWay
    at[0] += head
    while count:
        if at[0] >= end or not (0xa0 <= at[0][0] <= 0xbf or 0xd9 <= at[0][0] <= 0xdb):
            raise OutOfTheWay  # a key that is no str
        key = read_value(at, end, 0)
        found[key] = read_value(at, end, depth - 1)
        count -= 1
    return found


cdef object read_value(const uint8_t **at, const uint8_t *end, int depth):
    """Read a payload, in which containers nest at most `depth` deep.

    Raises OutOfTheWay, or UnicodeDecodeError, for what is none; the careful way says what is wrong with it.
    """
    cdef const uint8_t *p = at[0]
    cdef size_t left = end - p
    if left == 0:
        raise OutOfTheWay
    cdef uint8_t head = p[0]
    cdef uint64_t bits
    cdef uint32_t short_bits
    cdef double real
    cdef float short_real
    if head < 0x80:
        at[0] += 1
        return head
    if head >= 0xe0:
        at[0] += 1
        return <int8_t>head
    if head <= 0x8f:
        return read_map(at, end, 1, head & 15, depth)
    if head <= 0x9f:
        return read_list(at, end, 1, head & 15, depth)
    if head <= 0xbf:
        return read_text(at, end, 1, head & 31)
    if head == 0xc0:
        at[0] += 1
        return None
    if head == 0xc2:
        at[0] += 1
        return False
    if head == 0xc3:
        at[0] += 1
        return True
    if left < 2:
        raise OutOfTheWay
    if head == 0xd9:
        return read_text(at, end, 2, p[1])
    if head == 0xc4:
        return read_bytes(at, end, 2, p[1])
    if head == 0xcc:
        at[0] += 2
        return p[1]
    if head == 0xd0:
        at[0] += 2
        return <int8_t>p[1]
    if left < 3:
        raise OutOfTheWay
    if head == 0xda:
        return read_text(at, end, 3, fabric_16(p + 1))
    if head == 0xc5:
        return read_bytes(at, end, 3, fabric_16(p + 1))
    if head == 0xdc:
        return read_list(at, end, 3, fabric_16(p + 1), depth)
    if head == 0xde:
        return read_map(at, end, 3, fabric_16(p + 1), depth)
    if head == 0xcd:
        at[0] += 3
        return fabric_16(p + 1)
    if head == 0xd1:
        at[0] += 3
        return <int16_t>fabric_16(p + 1)
    if left < 5:
        raise OutOfTheWay
    if head == 0xdb:
        return read_text(at, end, 5, fabric_32(p + 1))
    if head == 0xc6:
        return read_bytes(at, end, 5, fabric_32(p + 1))
    if head == 0xdd:
        return read_list(at, end, 5, fabric_32(p + 1), depth)
    if head == 0xdf:
        return read_map(at, end, 5, fabric_32(p + 1), depth)
    if head == 0xce:
        at[0] += 5
        return fabric_32(p + 1)
    if head == 0xd2:
        at[0] += 5
        return <int32_t>fabric_32(p + 1)
    if head == 0xca:
        short_bits = fabric_32(p + 1)
        memcpy(&short_real, &short_bits, 4)
        at[0] += 5
        return <double>short_real
    if left < 9:
        raise OutOfTheWay
    if head == 0xcb:
        bits = fabric_64(p + 1)
        memcpy(&real, &bits, 8)
        at[0] += 9
        return real
    if head == 0xcf:
        at[0] += 9
        return fabric_64(p + 1)
    if head == 0xd3:
        at[0] += 9
        return <int64_t>fabric_64(p + 1)
    raise OutOfTheWay


cdef inline int64_t now_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


# ── the table of topics ──────────────────────────────────────────────────────────────────────────────────────────────


cdef class Intake:
    cdef object rare
    cdef size_t max_body_bytes
    cdef Record **slots  # open addressing; what lies here is what `routes` holds, or less
    cdef size_t mask  # slots, less one; a power of two, less one
    cdef size_t count  # records, at most half as many as slots
    cdef Item *items  # BATCH of them; their parts are always valid messages of libzmq
    cdef int at  # of the items taken, the next to be judged
    cdef int filled  # items taken
    cdef bint drained  # nothing waited behind the last one
    cdef int stale  # the routes were emptied: set by any thread, cleared by the I/O thread, which empties the table
    cdef readonly uint64_t emptied
    cdef readonly uint64_t received
    cdef readonly uint64_t unmatched

    def __cinit__(self, rare, max_payload_bytes):
        cdef int index
        self.rare = rare
        self.max_body_bytes = max_payload_bytes + ENVELOPE_BYTES
        self.slots = <Record **>calloc(SMALL_TABLE, sizeof(Record *))
        self.mask = SMALL_TABLE - 1
        self.items = <Item *>calloc(BATCH, sizeof(Item))
        if self.slots == NULL or self.items == NULL:
            raise MemoryError
        for index in range(BATCH):
            zmq_msg_init(&self.items[index].part)

    def __dealloc__(self):
        cdef int index
        if self.slots != NULL:
            self.let_go(self.slots, self.mask)
        if self.items != NULL:
            for index in range(BATCH):
                zmq_msg_close(&self.items[index].part)
            free(self.items)

    cdef void let_go(self, Record **slots, size_t mask):
        cdef size_t index
        for index in range(mask + 1):
            if slots[index] != NULL:
                Py_XDECREF(slots[index].raw)
                Py_XDECREF(slots[index].route)
                Py_XDECREF(slots[index].publisher_object)
                free(slots[index])
        free(slots)

    cdef int empty(self) except -1:
        """Let go of all records, and of what the items that wait know of them."""
        cdef Record **old = self.slots
        cdef size_t mask = self.mask
        cdef int index
        fabric_set_flag(&self.stale, 0)  # first: what is emptied from now on shows again
        for index in range(self.at, self.filled):
            self.items[index].record = NULL
        if self.count == 0:
            return 0
        self.slots = <Record **>calloc(SMALL_TABLE, sizeof(Record *))
        if self.slots == NULL:
            self.slots = old
            raise MemoryError
        self.mask = SMALL_TABLE - 1
        self.count = 0
        self.let_go(old, mask)
        return 0

    cdef Record *find(self, const uint8_t *topic, size_t size, uint64_t hash) noexcept nogil:
        cdef size_t place = hash & self.mask
        cdef Record *record
        while True:
            record = self.slots[place]
            if record == NULL or (
                record.hash == hash
                and record.size == size
                and memcmp(record.topic, topic, size) == 0
            ):
                return record
            place = (place + 1) & self.mask

    cdef Record *insert(self, bytes raw, object route, uint64_t hash) except NULL:
        cdef Record *record
        cdef size_t place
        if 2 * (self.count + 1) > self.mask:
            self.grow()
        record = <Record *>calloc(1, sizeof(Record))
        if record == NULL:
            raise MemoryError
        record.hash = hash
        Py_INCREF(raw)
        record.raw = <PyObject *>raw
        record.topic, record.size = <const uint8_t *>PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw)
        Py_INCREF(route)
        record.route = <PyObject *>route
        record.wanted = bool(route[1])
        place = hash & self.mask
        while self.slots[place] != NULL:
            place = (place + 1) & self.mask
        self.slots[place] = record
        self.count += 1
        return record

    cdef int grow(self) except -1:
        cdef size_t mask = 4 * (self.mask + 1) - 1
        cdef size_t index, place
        cdef Record **slots = <Record **>calloc(mask + 1, sizeof(Record *))
        if slots == NULL:
            raise MemoryError
        for index in range(self.mask + 1):
            if self.slots[index] != NULL:
                place = self.slots[index].hash & mask
                while slots[place] != NULL:
                    place = (place + 1) & mask
                slots[place] = self.slots[index]
        free(self.slots)
        self.slots, self.mask = slots, mask
        return 0

    # ── taking ───────────────────────────────────────────────────────────────────────────────────────────────────

    cdef inline void look(self, Item *item) noexcept nogil:
        """Find the topic in a part, and its record."""
        item.nul = <const uint8_t *>memchr(item.data, 0, item.size) if item.size else NULL
        item.record = NULL
        if item.nul != NULL:
            item.hash = fabric_hash(item.data, item.nul - item.data)
            item.record = self.find(item.data, item.nul - item.data, item.hash)

    cdef int fill(self, void *socket, int flags, int limit) noexcept nogil:
        """Take up to `limit` parts: 0, or the error when none came. What nobody wants may be done with already."""
        cdef int count = 0, error = 0, index
        cdef size_t size = 0
        cdef bint wanted = False
        cdef Item *item
        self.at = self.filled = 0
        self.drained = False
        while count < limit and size < BATCH_BYTES:
            item = &self.items[count]
            if zmq_msg_recv(&item.part, socket, flags) < 0:
                error = zmq_errno()
                if error == EINTR:
                    continue
                self.drained = True
                self.emptied += 1
                break
            flags = DONTWAIT
            item.data = <const uint8_t *>zmq_msg_data(&item.part)
            item.size = zmq_msg_size(&item.part)
            size += item.size
            count += 1
            self.look(item)
            wanted |= item.record == NULL or item.record.wanted
        if count == 0:
            return error
        if wanted or fabric_flag(&self.stale):
            self.filled = count
            return 0
        for index in range(count):
            self.close_part(&self.items[index])
        self.received += count
        self.unmatched += count
        return 0

    cdef inline void close_part(self, Item *item) noexcept nogil:
        zmq_msg_close(&item.part)
        zmq_msg_init(&item.part)

    cdef int judge_next(self) except -1:
        cdef Item *item = &self.items[self.at]
        self.at += 1  # first: whatever happens, it is not judged twice
        self.judge(item)
        self.close_part(item)
        return 0

    def receive(self, socket, double for_s, double pause_s=0.0):
        cdef void *handle = <void *><uintptr_t>socket.underlying
        cdef int64_t end = now_ns() + <int64_t>(for_s * 1e9)
        cdef int error = 0
        cdef timespec pause
        pause.tv_sec, pause.tv_nsec = 0, <long>(pause_s * 1e9)
        while True:
            if self.at >= self.filled:
                with nogil:
                    error = self.fill(handle, 0, BATCH)
                if error == EAGAIN:
                    return False
                if error:
                    raise zmq.ZMQError(error)
            while self.at < self.filled:
                self.judge_next()
                if self.at % BURST == 0 and now_ns() >= end:
                    return True
            if now_ns() >= end:
                return True
            if self.drained and pause.tv_nsec:
                with nogil:
                    nanosleep(&pause, NULL)

    def drain(self, socket, int limit):
        cdef void *handle = <void *><uintptr_t>socket.underlying
        cdef int error
        cdef uint64_t end = self.received + limit
        while True:
            while self.at < self.filled:
                self.judge_next()
            if self.received >= end:
                return
            with nogil:
                error = self.fill(handle, DONTWAIT, min(<uint64_t>BATCH, end - self.received))
            if error == EAGAIN:
                return
            if error:
                raise zmq.ZMQError(error)

    def take(self, bytes part):
        cdef Item item
        while self.at < self.filled:
            self.judge_next()
        item.data = <const uint8_t *>PyBytes_AS_STRING(part)
        item.size = PyBytes_GET_SIZE(part)
        self.look(&item)
        self.judge(&item)

    def close(self):
        # Python's garbage collector does not see what records refer to: a handler's object would keep itself alive.
        self.at = self.filled
        self.empty()

    def forget_routes(self):
        fabric_set_flag(&self.stale, 1)

    # ── judging ──────────────────────────────────────────────────────────────────────────────────────────────────

    cdef int judge(self, Item *item) except -1:
        cdef Record *record
        cdef size_t topic_size
        self.received += 1
        if item.nul == NULL:
            self.rare.refuse_part(PyBytes_FromStringAndSize(<const char *>item.data, item.size))
            return 0
        if fabric_flag(&self.stale):
            self.empty()
            item.record = NULL
        record = item.record
        topic_size = item.nul - item.data
        if record == NULL:
            record = self.find(item.data, topic_size, item.hash)
        if record == NULL:
            raw = PyBytes_FromStringAndSize(<const char *>item.data, topic_size)
            route = self.rare.first_sight(raw, self.body(item))
            if route is None:
                return 0
            record = self.insert(raw, route, item.hash)
        if not record.wanted:
            self.unmatched += 1
            return 0
        route = <object>record.route
        if not self.deliver(item, record, route):
            self.rare.take_carefully(route, self.body(item))
        return 0

    cdef inline bytes body(self, Item *item):
        return PyBytes_FromStringAndSize(<const char *>item.nul + 1, item.data + item.size - item.nul - 1)

    cdef bint deliver(self, Item *item, Record *record, object route) except -1:
        """Deliver what is plainly a message in order; False: it is not, and nothing has changed."""
        cdef const uint8_t *at = item.nul + 1
        cdef const uint8_t *end = item.data + item.size
        cdef uint64_t publisher, number, sent_ns
        cdef int overflow
        cdef PyObject *last
        if <size_t>(end - at) > self.max_body_bytes or end - at < 6 or at[0] != 0x95 or at[1] != VERSION:
            return False
        at = read_number(at + 2, end, &publisher)
        if at == NULL:
            return False
        at = read_number(at, end, &number)
        if at == NULL or number == 0 or number >> 63:
            return False
        at = read_number(at, end, &sent_ns)
        if at == NULL:
            return False
        if record.publisher_object != NULL and record.publisher == publisher:
            publisher_object = <object>record.publisher_object
        else:
            publisher_object = publisher
            Py_INCREF(publisher_object)
            Py_XDECREF(record.publisher_object)
            record.publisher_object, record.publisher = <PyObject *>publisher_object, publisher
        cdef dict lasts = <dict><object>PyTuple_GET_ITEM(route, 2)
        last = PyDict_GetItemWithError(lasts, publisher_object)
        if last == NULL or PyLong_AsLongLongAndOverflow(<object>last, &overflow) != <int64_t>number - 1 or overflow:
            return False
        try:
            payload = read_value(&at, end, NESTING)
        except (OutOfTheWay, UnicodeDecodeError):
            return False
        if at != end:
            return False
        number_object = number
        lasts[publisher_object] = number_object
        message = fabric_tuple(
            Message, <object>PyTuple_GET_ITEM(route, 0), payload, publisher_object, number_object, sent_ns, NO_HEADERS
        )
        self.hand_over(message, <object>PyTuple_GET_ITEM(route, 1), <object>PyTuple_GET_ITEM(route, 3))
        return True

    cdef int hand_over(self, object message, object subscriptions, object only) except -1:
        cdef Py_ssize_t place = 0
        try:
            if only is not None:
                only(message)
            else:
                for subscription in subscriptions:
                    if subscription.active:
                        subscription.handler(message)
                    place += 1
        except BaseException:
            self.rare.handler_raised(message, subscriptions, place)
        return 0
