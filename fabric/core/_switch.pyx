# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# distutils: language = c++
"""The switch, compiled: everything that passes a proxy, in one loop without the GIL. See its twin, `switch.py`.

How it waits. libzmq's own poll asks the system once for each socket, and again for all. This loop polls the sockets'
descriptors itself (`ZMQ_FD`): a socket is read when its descriptor says so, and until a read is refused, since only
then has libzmq handled all that waited for that socket. What is sent at a socket may handle some of it as well, and the
descriptor then says nothing of it: so a socket that was sent at is read once before the loop sleeps.
"""

from libc.errno cimport EAGAIN, EINTR, ENOMEM, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset, strerror
from libcpp.deque cimport deque
from libcpp.string cimport string
from libcpp.vector cimport vector
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

from fabric.core._libzmq cimport (
    ZMQ_CURVE_SERVERKEY,
    ZMQ_DONTWAIT,
    ZMQ_SRCFD,
    ZMQ_SUBSCRIBE,
    ZMQ_UNSUBSCRIBE,
    handle_of,
    zmq_bind,
    zmq_connect,
    zmq_disconnect,
    zmq_errno,
    zmq_message,
    zmq_msg_close,
    zmq_msg_copy,
    zmq_msg_data,
    zmq_msg_get,
    zmq_msg_gets,
    zmq_msg_init,
    zmq_msg_init_data,
    zmq_msg_init_size,
    zmq_msg_more,
    zmq_msg_move,
    zmq_msg_recv,
    zmq_msg_send,
    zmq_msg_size,
    zmq_setsockopt,
)
from fabric.core._gate cimport Verdicts
from fabric.core._retained cimport CErrand, CTable, CTour, Table, string_view

import zmq

from fabric.core import retained as retained_values
from fabric.core import steering
from fabric.core.entry import ASK, PROXY, SYSTEM, WHO, Marker, with_wanted
from fabric.topics import MAX_LEVELS, MAX_TOPIC_BYTES

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *items, unsigned long count, int timeout_ms)
    short POLLIN

cdef extern from *:
    """
    static inline int64_t fabric_read(int64_t *at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
    static inline int64_t fabric_add(int64_t *at, int64_t more) {
        return __atomic_add_fetch(at, more, __ATOMIC_ACQ_REL);
    }
    """
    int64_t fabric_read(int64_t *) noexcept nogil
    int64_t fabric_add(int64_t *, int64_t) noexcept nogil

ctypedef unsigned char byte

cdef enum:
    CONTROL, PULL, OUT, RELAY, LINK, GUEST, PLACES
cdef enum:
    NO_TOPIC, BAD_TOPIC, LOCAL_SCOPE, SYSTEM_TOPIC, TOO_LARGE, SEVERAL, NOT_CONTROL, GUEST_SPOKE, FLOODED, FAILED, NOT_ALLOWED, FORGED, UNSURE, KINDS
cdef enum:
    IN_STREAM, OUT_STREAM, RELAY_STREAM, GUEST_STREAM, STREAMS
cdef enum:
    MAX_ENDPOINT = 1024
    SLEEP_MS = 5000  # at most; a belt: a wake-up that got lost would cost no more than this
    MAX_NOTES = 200  # denials a second that the gate is told of; each takes the GIL
    PAUSE_MS = 2  # how often it looks whether publishers may go on
    ROUNDS = 16  # under load, so many of them between two looks at sockets that were sent at

assert [place.value for place in steering.Place] == list(range(PLACES)) and len(steering.KINDS) == KINDS
cdef int BURST = steering.BURST
cdef int SLICE = steering.SLICE
cdef size_t MAX_TOURS = steering.MAX_TOURS, SWEPT_AT_ONCE = steering.SWEPT_AT_ONCE
cdef uint64_t MAX_AHEAD = steering.MAX_AHEAD
cdef uint64_t MAX_AHEAD_BYTES = steering.MAX_AHEAD_BYTES
cdef uint64_t WEIGH_BYTES = steering.WEIGH_BYTES
cdef uint64_t PART_BYTES = steering.PART_BYTES
cdef size_t TOPIC_LIMIT = MAX_TOPIC_BYTES
cdef size_t SLASH_LIMIT = MAX_LEVELS - 1
cdef int ETERM = zmq.ETERM
cdef int ENOTSOCK = zmq.ENOTSOCK
assert SYSTEM == (b"$fabric/service/", b"$fabric/who/", b"$inbox/", b"$repair/", b"$site_connect/")
assert (WHO, PROXY, ASK) == (b"$fabric/who", b"$fabric/proxy/", b"/ask")

assert retained_values.SHARED == b"$fabric/retained\0"
assert (retained_values.TAIL, retained_values.TAIL_BYTES) == (b"\xa6retain\xce", 12)

# What a node's marker without claims begins with, see `protocol.markers.encode_marker`; the second byte is \x97 where
# it wants retained values.
cdef byte *MARKER = b"\x02\x95\x01\xa6marker"
cdef enum:
    MARKER_BYTES = 10


# ── what may enter ───────────────────────────────────────────────────────────────────────────────────────────────

cdef bint is_utf8(const byte *at, const byte *end) noexcept nogil:
    """As Python has it: no surrogates, nothing longer than it needs to be, nothing above U+10FFFF."""
    cdef byte first, second
    cdef int more, i
    while at < end:
        first = at[0]
        at += 1
        if first < 0x80:
            continue
        if first < 0xC2 or first > 0xF4:
            return False
        more = 1 if first < 0xE0 else 2 if first < 0xF0 else 3
        if end - at < more:
            return False
        second = at[0]
        if first == 0xE0 and second < 0xA0 or first == 0xED and second > 0x9F:
            return False
        if first == 0xF0 and second < 0x90 or first == 0xF4 and second > 0x8F:
            return False
        for i in range(more):
            if at[i] & 0xC0 != 0x80:
                return False
        at += more
    return True


cdef bint begins_with(const byte *part, size_t size, const byte *prefix, size_t length) noexcept nogil:
    return size >= length and memcmp(part, prefix, length) == 0


cdef bint may_be_published(const byte *topic, size_t size) noexcept nogil:
    """A topic that begins with `$`, see `entry.SYSTEM`."""
    if begins_with(topic, size, b"$inbox/", 7) or begins_with(topic, size, b"$site_connect/", 14):
        return True
    if begins_with(topic, size, b"$fabric/service/", 16) or begins_with(topic, size, b"$repair/", 8):
        return True
    if begins_with(topic, size, b"$fabric/who", 11):
        return size == 11 or topic[11] == c"/"
    if begins_with(topic, size, b"$fabric/proxy/", 14):
        return size >= 18 and memcmp(topic + size - 4, b"/ask", 4) == 0
    if not begins_with(topic, size, b"$ack/", 5):
        return False
    return topic[size - 2] == c"/" and (
        topic[size - 1] == c"w" or topic[size - 1] == c"q" or topic[size - 1] == c"p"
    )


cdef int judge(const byte *part, size_t size, size_t max_body) noexcept nogil:
    """The kind of refusal, or -1; see `entry.refusal`."""
    cdef const byte *end = <const byte *>memchr(part, 0, size)
    cdef const byte *at = part
    cdef size_t length, slashes = 0
    cdef bint plain = True
    if end == NULL:
        return NO_TOPIC
    length = end - part
    if length == 0 or length > TOPIC_LIMIT:
        return BAD_TOPIC
    while at < end:
        if at[0] == c"/":
            slashes += 1
        elif at[0] == c"+" or at[0] == c"#":
            return BAD_TOPIC
        elif at[0] >= 0x80:
            plain = False
        at += 1
    if slashes > SLASH_LIMIT or not (plain or is_utf8(part, end)):
        return BAD_TOPIC
    if part[0] == c"~":
        # `~pagesession` as the whole first level is the one scope that travels.
        if not begins_with(part, length, b"~pagesession", 12) or (length > 12 and part[12] != c"/"):
            return LOCAL_SCOPE
    elif part[0] == c"$" and not may_be_published(part, length):
        return SYSTEM_TOPIC
    return TOO_LARGE if size - length - 1 > max_body else -1


cdef bint is_control_part(const byte *prefix, size_t size) noexcept nogil:
    """See `entry.is_control`."""
    return size >= 2 and prefix[0] == 2 and prefix[1] & 0xF0 == 0x90


cdef bint is_token(const byte *at, size_t size) noexcept nogil:
    cdef size_t i
    for i in range(size):
        if not (c"0" <= at[i] <= c"9" or c"a" <= at[i] <= c"z" or c"A" <= at[i] <= c"Z" or at[i] == c"-"):
            return False
    return 0 < size <= 100


cdef bint find_marker(
    const byte *part,
    size_t size,
    const byte **token,
    size_t *token_size,
    const byte **nonce,
    size_t *nonce_size,
    size_t *wanted_at,
) noexcept nogil:
    """See `entry.read_marker`. wanted_at: 0: it wants nothing; what is wanted was not read yet"""
    cdef size_t at = MARKER_BYTES
    if size < MARKER_BYTES + 2 or part[0] != MARKER[0] or memcmp(part + 2, MARKER + 2, MARKER_BYTES - 2) != 0:
        return False
    if part[1] != 0x95 and part[1] != 0x97:
        return False
    if 0xA1 <= part[at] <= 0xBF:
        token_size[0] = part[at] & 0x1F
        at += 1
    elif part[at] == 0xD9 and 0x20 <= part[at + 1] <= 100:
        token_size[0] = part[at + 1]
        at += 2
    else:
        return False
    token[0] = part + at
    at += token_size[0]
    if size < at + 3 or part[at] != 0xC4 or part[at + 1] > 64:
        return False
    nonce_size[0] = part[at + 1]
    nonce[0] = part + at + 2
    at += 2 + nonce_size[0]
    if size < at + 1 or part[at] != 0xC0 or not is_token(token[0], token_size[0]):
        return False
    wanted_at[0] = 0
    if part[1] == 0x95:
        return size == at + 1
    if size < at + 3 or part[at + 1] != 0x90:
        return False
    wanted_at[0] = at + 2
    return True


cdef bint read_wanted(const byte *part, size_t size, size_t at, vector[string] *wanted) noexcept nogil:
    """See `entry._bins`."""
    cdef size_t count, length, i
    if 0x90 <= part[at] <= 0x9F:
        count = part[at] & 0x0F
        at += 1
    elif part[at] == 0xDC and size >= at + 3:
        count = part[at + 1] << 8 | part[at + 2]
        at += 3
    else:
        return False
    for i in range(count):
        if size >= at + 2 and part[at] == 0xC4:
            length = part[at + 1]
            at += 2
        elif size >= at + 3 and part[at] == 0xC5:
            length = part[at + 1] << 8 | part[at + 2]
            at += 3
        else:
            return False
        if size - at < length:
            return False
        wanted.push_back(string(<const char *>part + at, length))
        at += length
    return at == size


def refusal(bytes part, size_t max_body_bytes):
    """See `entry.refusal`."""
    cdef int kind = judge(<const byte *><const char *>part, len(part), max_body_bytes)
    return None if kind < 0 else steering.KINDS[kind]


def is_control(bytes prefix):
    """See `entry.is_control`."""
    return is_control_part(<const byte *><const char *>prefix, len(prefix))


def read_marker(bytes part):
    """See `entry.read_marker`."""
    cdef const byte *data = <const byte *><const char *>part
    cdef const byte *token
    cdef const byte *nonce
    cdef size_t token_size, nonce_size, wanted_at
    cdef vector[string] wanted
    if not find_marker(data, len(part), &token, &token_size, &nonce, &nonce_size, &wanted_at):
        return None
    if not wanted_at:
        return Marker(token[:token_size], nonce[:nonce_size])
    if not read_wanted(data, len(part), wanted_at, &wanted):
        return None
    return Marker(token[:token_size], nonce[:nonce_size], tuple(<bytes>each for each in wanted), wanted_at)


# ── what waits for slow readers ──────────────────────────────────────────────────────────────────────────────────

cdef struct Load:
    int64_t bytes  # that weighed parts stand for which libzmq has not let go of; any thread of libzmq's takes from it
    int64_t holders  # these parts, and the switch: the last one frees this


cdef struct Weight:
    zmq_message held  # the part itself
    Load *load
    int64_t bytes  # that it stands for


cdef void let_go(Load *load, int64_t weight) noexcept nogil:
    fabric_add(&load.bytes, -weight)
    if fabric_add(&load.holders, -1) == 0:
        free(load)


cdef void unweigh(void *data, void *weight) noexcept nogil:
    """libzmq has let go of a weighed part. In whatever thread."""
    cdef Weight *found = <Weight *>weight
    let_go(found.load, found.bytes)
    zmq_msg_close(&found.held)
    free(found)


# ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────────────

cdef struct Answer:
    byte *head  # before the nonce; then, in the same block, what stands behind it
    size_t head_size
    size_t tail_size


cdef int64_t now_us() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1_000_000 + now.tv_nsec // 1000


cdef uint64_t wall_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <uint64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef class Switch:
    """See `fabric.core.switch.Switch`. Fields are written by the loop's thread alone, but for `heard`."""

    cdef object keep  # the sockets: their handles live as long as they do
    cdef void *handle[PLACES]
    cdef pollfd items[PLACES]  # the sockets' descriptors
    cdef bint ready[PLACES]  # to be read until a read is refused
    cdef bint sent[PLACES]  # was sent at since a read was last refused
    cdef bint skipping[PLACES]  # within a message of several frames
    cdef bint unsure[PLACES]  # whose the next subscription is; see the twin
    cdef bint turned_away[PLACES]  # nothing is read there any more
    cdef bint used[PLACES]  # somebody has subscribed there, once
    cdef Answer answers[PLACES]
    cdef bytes own, news
    cdef const byte *own_prefix
    cdef const byte *news_prefix
    cdef size_t own_size, news_size, max_body
    cdef int64_t spin_us
    cdef bint idle  # nothing was read since it last looked for more
    cdef int luck  # 0 to 64: how often looking for more before sleeping has paid lately
    cdef uint32_t sleeps
    cdef uint64_t parts[STREAMS]
    cdef uint64_t octets[STREAMS]
    cdef uint64_t refused[KINDS]
    cdef int64_t prefixes[PLACES]
    cdef uint64_t answered, told, told_bytes
    cdef Load *load
    cdef uint64_t unweighed  # bytes since a part was last weighed
    cdef uint64_t weigh_at  # of these, when the next one is
    cdef uint64_t chance  # of a generator of numbers, never 0
    cdef int64_t pause_bytes
    cdef int pull_descriptor
    cdef bint paused  # too much is queued: nothing is read of publishers
    cdef Table retained
    cdef CTable *table  # of `retained`
    cdef deque[CErrand *] errands  # each is given one batch in turn
    cdef string batch  # the last one
    cdef object gate  # None: no keys
    cdef Verdicts verdicts  # of the gate
    cdef bint guarded  # there is a gate
    cdef bint observes  # which only looks on
    cdef int64_t noted_at  # when this second of notes began
    cdef int notes  # in it
    cdef bint ended
    cdef int failure  # errno that ends the loop
    cdef public uint64_t heard, heard_bytes

    def __cinit__(self, places, *, bytes own, bytes news, size_t max_body_bytes, int64_t spin_us, gate=None,
                  int64_t pause_bytes=0, Table retained=None):
        cdef int i
        self.retained = Table() if retained is None else retained
        self.table = self.retained.table
        self.load = <Load *>calloc(1, sizeof(Load))
        if self.load == NULL:
            raise MemoryError
        self.load.holders = 1
        self.chance, self.pause_bytes = 0x9E3779B97F4A7C15, pause_bytes
        self.keep = tuple(places)
        if len(self.keep) != PLACES:
            raise ValueError(f"invalid sockets: expected {PLACES}, not {len(self.keep)}")
        for i in range(PLACES):
            self.handle[i] = handle_of(self.keep[i])
            self.items[i].fd = self.keep[i].getsockopt(zmq.FD)
            self.items[i].events = POLLIN
            self.ready[i] = True
        self.pull_descriptor = self.items[PULL].fd
        self.own, self.news = own, news
        self.own_prefix, self.own_size = <const byte *><const char *>self.own, len(own)
        self.news_prefix, self.news_size = <const byte *><const char *>self.news, len(news)
        self.max_body, self.spin_us = max_body_bytes, spin_us
        self.gate, self.guarded = gate, gate is not None
        if self.guarded:
            self.verdicts = Verdicts(gate)
            self.observes = gate.observe

    def __dealloc__(self):
        cdef int i
        cdef CErrand *errand
        for i in range(PLACES):
            free(self.answers[i].head)
        if self.load != NULL:
            let_go(self.load, 0)
        while not self.errands.empty():
            errand = self.errands.front()
            self.errands.pop_front()
            del errand

    def counts(self):
        """See the twin. Each figure is read as it is at this moment."""
        names = ("in", "out", "relay", "guest")
        return steering.Counts(
            {name: self.parts[i] for i, name in enumerate(names)},
            {name: self.octets[i] for i, name in enumerate(names)},
            {kind: self.refused[i] for i, kind in enumerate(steering.KINDS) if self.refused[i]},
            {"out": self.prefixes[OUT], "link": self.prefixes[LINK], "guest": self.prefixes[GUEST]},
            self.answered,
            {**self.retained.figures(), "tours": self.errands.size()},
            self.queued(),
        )

    def queued(self):
        """See the twin."""
        return fabric_read(&self.load.bytes)

    def run(self):
        """See the twin. Never takes the GIL."""
        with nogil:
            self.loop()
        return self.failure

    cdef void loop(self) noexcept nogil:
        cdef int i, rounds = 0
        while True:
            self.pause_or_go_on()
            for i in range(PLACES):
                if self.may_read(i):
                    self.read(i)
                    if self.ended or self.failure:
                        return
            rounds += 1
            if rounds >= ROUNDS:
                rounds = 0
                self.look_where_it_sent()
            self.tell_of_retained()
            self.wait()

    cdef bint may_read(self, int place) noexcept nogil:
        return self.ready[place] and not self.turned_away[place] and not (self.paused and place == PULL)

    cdef bint is_any_ready(self) noexcept nogil:
        cdef int i
        for i in range(PLACES):
            if self.may_read(i):
                return True
        return False

    cdef void pause_or_go_on(self) noexcept nogil:
        cdef bint paused = 0 < self.pause_bytes < fabric_read(&self.load.bytes)
        if paused == self.paused or self.turned_away[PULL]:
            return
        self.paused = paused
        # Meanwhile poll passes it over; its descriptor says nothing of what came before.
        self.items[PULL].fd = -1 if paused else self.pull_descriptor
        self.ready[PULL] = True

    cdef bint look_where_it_sent(self) noexcept nogil:
        """Have those read next that were sent at; whether there are any."""
        cdef int i
        cdef bint found = False
        for i in range(PLACES):
            if self.sent[i]:
                self.sent[i] = False
                self.ready[i] = found = True
        return found

    cdef void wait(self) noexcept nogil:
        """Note what the descriptors say; sleep until they say something, unless something is to be read already."""
        cdef int i
        self.ask(0)
        if self.is_any_ready() or not self.errands.empty():
            return
        if not self.idle:
            self.idle = True
            if self.spin():
                return
        if self.look_where_it_sent():
            return
        if self.paused:
            self.ask(PAUSE_MS)
            return
        self.sleeps += 1
        if not self.ask(SLEEP_MS):
            for i in range(PLACES):
                self.ready[i] = True

    cdef bint ask(self, int timeout_ms) noexcept nogil:
        cdef int i
        cdef bint found = False
        if poll(self.items, PLACES, timeout_ms) < 0:
            if errno != EINTR and errno != EAGAIN:
                self.failure = errno
            return True
        for i in range(PLACES):
            if self.items[i].revents:
                self.ready[i] = found = True
        return found

    cdef bint spin(self) noexcept nogil:
        """Look for more for a while, if that has paid lately: to be woken costs more. Whether there is more."""
        cdef int64_t end
        if self.spin_us <= 0 or (self.luck == 0 and self.sleeps % 16):
            return False
        end = now_us() + self.spin_us
        while now_us() < end:
            if self.ask(0):
                self.luck = min(self.luck + 8, 64)
                return True
        self.luck = max(self.luck - 4, 0)
        return False

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    cdef void read(self, int place) noexcept nogil:
        """At most BURST frames of this socket; no longer `ready` once a read was refused."""
        cdef zmq_message part
        cdef int n, number
        for n in range(BURST):
            zmq_msg_init(&part)
            if zmq_msg_recv(&part, self.handle[place], ZMQ_DONTWAIT) < 0:
                number = zmq_errno()
                zmq_msg_close(&part)
                if number == EAGAIN:
                    self.ready[place] = self.sent[place] = self.unsure[place] = False
                elif number != EINTR:
                    self.failure = number
                return
            self.idle = False
            if place == PULL:
                self.publish(&part)
            elif place == RELAY:
                self.relay(&part)
            elif place == CONTROL:
                self.obey(&part)
            else:
                self.come_up(place, &part)
            zmq_msg_close(&part)
            if self.ended or self.failure:
                return

    # ── streams ──────────────────────────────────────────────────────────────────────────────────────────────────

    cdef void publish(self, zmq_message *part) noexcept nogil:
        cdef const byte *data = <const byte *>zmq_msg_data(part)
        cdef size_t size = zmq_msg_size(part)
        cdef int kind
        if self.is_of_several(PULL, part):
            return
        kind = judge(data, size, self.max_body)
        if kind >= 0:
            self.refused[kind] += 1
            return
        if self.guarded and not self.may_enter(part, data, size):
            return
        self.count(IN_STREAM, size)
        if size > 12 and memcmp(data + size - 12, b"\xa6retain\xce", 8) == 0:
            self.table.take(string_view(<const char *>data, size), now_us(), wall_ns(), 0)
        if begins_with(data, size, self.own_prefix, self.own_size):
            self.tell(PULL, data, size, False)
        self.say(part)

    cdef bint may_enter(self, zmq_message *part, const byte *data, size_t size) noexcept nogil:
        """What the sender's rights say. The part has a topic."""
        cdef const char *user = zmq_msg_gets(part, "User-Id")
        cdef int descriptor = zmq_msg_get(part, ZMQ_SRCFD)
        cdef size_t length = <const byte *>memchr(data, 0, size) - data
        cdef int verdict = self.verdicts.judge(descriptor, user, data, length, data + length + 1, size - length - 1)
        if verdict == 0:
            return True
        self.note(PULL, user, data, length)
        if self.observes:
            return True
        self.refused[NOT_ALLOWED if verdict == 1 else FORGED] += 1
        return False

    cdef void note(self, int place, const char *user, const byte *what, size_t size) noexcept nogil:
        """Tell the gate what was refused, so often and no more."""
        cdef int64_t now = now_us()
        if now - self.noted_at > 1_000_000:
            self.noted_at, self.notes = now, 0
        self.notes += 1
        if self.notes > MAX_NOTES or user == NULL:
            return
        with gil:
            try:
                self.gate.denied(steering.Place(place), <bytes>user, <bytes>what[:size])
            except Exception:
                self.refused[FAILED] += 1

    cdef void say(self, zmq_message *part) noexcept nogil:
        self.count(OUT_STREAM, zmq_msg_size(part))
        self.weigh(part)
        if self.used[LINK]:
            self.send_copy(LINK, part)
        self.offer_guests(part)
        self.send(OUT, part)

    cdef void relay(self, zmq_message *part) noexcept nogil:
        cdef const byte *data = <const byte *>zmq_msg_data(part)
        cdef size_t size = zmq_msg_size(part)
        if self.is_of_several(RELAY, part):
            return
        self.count(RELAY_STREAM, size)
        if begins_with(data, size, b"$fabric/retained", 16):
            self.hear_of_retained(data, size)
            return
        if begins_with(data, size, self.own_prefix, self.own_size) or begins_with(
            data, size, self.news_prefix, self.news_size
        ):
            self.tell(RELAY, data, size, False)
        self.weigh(part)
        self.offer_guests(part)
        self.send(OUT, part)

    cdef void weigh(self, zmq_message *part) noexcept nogil:
        """Now and then, put into this part's place one that tells when libzmq lets go of it."""
        cdef Weight *weight
        cdef size_t size = zmq_msg_size(part)
        self.unweighed += size + PART_BYTES
        if self.unweighed < self.weigh_at:
            return
        weight = <Weight *>malloc(sizeof(Weight))
        if weight == NULL:
            return  # the next one stands for this, too
        zmq_msg_init(&weight.held)
        zmq_msg_move(&weight.held, part)
        weight.load, weight.bytes = self.load, <int64_t>self.unweighed
        if zmq_msg_init_data(part, zmq_msg_data(&weight.held), size, unweigh, weight) < 0:
            zmq_msg_init(part)
            zmq_msg_move(part, &weight.held)
            free(weight)
            return
        fabric_add(&self.load.bytes, weight.bytes)
        fabric_add(&self.load.holders, 1)
        # By chance, or a stream of parts that take turns would be weighed by one kind of them. xorshift64.
        self.chance ^= self.chance << 13
        self.chance ^= self.chance >> 7
        self.chance ^= self.chance << 17
        self.unweighed, self.weigh_at = 0, WEIGH_BYTES // 2 + self.chance % WEIGH_BYTES

    cdef void offer_guests(self, zmq_message *part) noexcept nogil:
        if self.used[GUEST]:
            self.count(GUEST_STREAM, zmq_msg_size(part))
            self.send_copy(GUEST, part)

    cdef bint is_of_several(self, int place, zmq_message *part) noexcept nogil:
        cdef bint more = zmq_msg_more(part)
        cdef bint was = self.skipping[place]
        self.skipping[place] = more
        if more and not was:
            self.refused[SEVERAL] += 1
        return more or was

    # ── upstream ─────────────────────────────────────────────────────────────────────────────────────────────────

    cdef void come_up(self, int place, zmq_message *part) noexcept nogil:
        cdef const byte *data = <const byte *>zmq_msg_data(part)
        cdef size_t size = zmq_msg_size(part)
        cdef bint judged = self.guarded and place != LINK
        if self.guarded and place == LINK:
            self.verdicts.see(LINK, zmq_msg_get(part, ZMQ_SRCFD), zmq_msg_gets(part, "User-Id"))
        if size and data[0] <= 1:
            if judged and is_control_part(data + 1, size - 1):
                if data[0]:
                    self.control_part_within(place, data + 1, size - 1, zmq_msg_gets(part, "User-Id"))
            elif not judged or self.passes_gate(place, part, data, size):
                self.subscription(place, part, data, size)
        elif judged:
            self.unsure[place] = True
            self.refused[NOT_CONTROL] += 1
            self.spoke(place, part, data, size)
        elif zmq_msg_more(part):
            self.refused[SEVERAL] += 1
        elif place != GUEST and (size == 0 or data[0] != 2):
            self.refused[NOT_CONTROL] += 1
        else:
            self.control_part(place, part, data, size, NULL)

    cdef void control_part(
        self, int place, zmq_message *part, const byte *data, size_t size, const char *user
    ) noexcept nogil:
        if place == GUEST:
            self.refused[GUEST_SPOKE] += 1
        else:
            self.marker(place, part, data, size, user)

    cdef void control_part_within(self, int place, const byte *data, size_t size, const char *user) noexcept nogil:
        """One that came as a subscription."""
        cdef zmq_message part
        if not self.fill(&part, data, size):
            return
        self.control_part(place, &part, data, size, user)
        zmq_msg_close(&part)

    cdef void spoke(self, int place, zmq_message *part, const byte *data, size_t size) noexcept nogil:
        cdef const char *user = zmq_msg_gets(part, "User-Id")
        cdef int descriptor = zmq_msg_get(part, ZMQ_SRCFD) if user != NULL else -1
        if user == NULL:
            return
        with gil:
            try:
                self.gate.spoke(steering.Place(place), descriptor, <bytes>user, <bytes>data[:size])
            except Exception:
                self.refused[FAILED] += 1

    cdef bint passes_gate(self, int place, zmq_message *part, const byte *data, size_t size) noexcept nogil:
        """Have libzmq hold what is granted, or let it go; return whether that passes on."""
        cdef const char *user = zmq_msg_gets(part, "User-Id")
        cdef int descriptor = zmq_msg_get(part, ZMQ_SRCFD) if user != NULL else -1
        with gil:
            try:
                prefix = <bytes>data[1:size]
                where = steering.Place(place)
                if user == NULL:
                    return data[0] == 0 and self.gate.left(where, prefix)
                if self.unsure[place]:
                    self.refused[UNSURE] += 1
                    return self.gate.unsure(where, descriptor, <bytes>user, prefix, subscribed=data[0] == 1)
                judge = self.gate.subscribed if data[0] else self.gate.cancelled
                grant = judge(where, descriptor, <bytes>user, prefix)
                for each in grant.prefixes:
                    zmq_setsockopt(
                        self.handle[place], ZMQ_SUBSCRIBE if data[0] else ZMQ_UNSUBSCRIBE, <const char *>each, len(each)
                    )
                if grant.refused:
                    self.refused[NOT_ALLOWED] += 1
                return grant.passes
            except Exception:
                self.refused[FAILED] += 1
                return False

    cdef void subscription(self, int place, zmq_message *part, const byte *data, size_t size) noexcept nogil:
        self.prefixes[place] += 1 if data[0] else -1
        if place == OUT:
            self.send_copy(RELAY, part)
        elif data[0]:
            self.used[place] = True
        if place != LINK:
            self.tell(place, data, size, True)

    cdef void marker(
        self, int place, zmq_message *part, const byte *data, size_t size, const char *user
    ) noexcept nogil:
        cdef const byte *token
        cdef const byte *nonce
        cdef size_t token_size, nonce_size, wanted_at
        if self.answers[place].head == NULL or not find_marker(
            data, size, &token, &token_size, &nonce, &nonce_size, &wanted_at
        ):
            self.tell(place, data, size, False)
        elif wanted_at:
            self.wanting_marker(place, part, data, size, user)
        else:
            if place == OUT:
                self.send_copy(RELAY, part)
            self.answer(place, token, token_size, nonce, nonce_size)

    cdef void wanting_marker(
        self, int place, zmq_message *part, const byte *data, size_t size, const char *user
    ) noexcept nogil:
        cdef const byte *token
        cdef const byte *nonce
        cdef size_t token_size, nonce_size, wanted_at
        cdef vector[string] wanted
        cdef CErrand *errand
        find_marker(data, size, &token, &token_size, &nonce, &nonce_size, &wanted_at)
        if not read_wanted(data, size, wanted_at, &wanted):
            self.tell(place, data, size, False)
            return
        if self.errands.size() >= MAX_TOURS:
            self.refused[FLOODED] += 1
            return
        if place == OUT:
            if not self.guarded:
                self.send_copy(RELAY, part)
            elif not self.narrow(data, size, wanted_at, user, &wanted):
                return
        errand = self.new_errand(place, b"$ack/", 5)
        errand.answers = True
        errand.token.assign(<const char *>token, token_size)
        errand.tour.topic.append(errand.token).append(b"/t\0", 3)
        errand.tour = CTour(
            string_view(errand.tour.topic.data(), errand.tour.topic.size()),
            string_view(<const char *>nonce, nonce_size),
            wanted,
            False,
        )

    cdef bint narrow(
        self, const byte *data, size_t size, size_t at, const char *user, vector[string] *wanted
    ) noexcept nogil:
        """Have the relay ask for what this peer may have only: the other proxies do not know who asks."""
        with gil:
            try:
                granted = self.gate.wanted(<bytes>user if user != NULL else b"", [<bytes>each for each in wanted[0]])
                wanted.clear()
                for each in granted:
                    wanted.push_back(<string>each)
                narrowed = <bytes>with_wanted(<bytes>data[:size], at, granted)
                self.send_new(RELAY, <const byte *><const char *>narrowed, len(narrowed))
                return True
            except Exception:
                self.refused[FAILED] += 1
                return False

    cdef void answer(
        self, int place, const byte *token, size_t token_size, const byte *nonce, size_t nonce_size
    ) noexcept nogil:
        cdef Answer *answer = &self.answers[place]
        cdef zmq_message said
        cdef byte *at
        cdef size_t answer_size = 5 + token_size + 3 + answer.head_size + 2 + nonce_size + answer.tail_size
        if zmq_msg_init_size(&said, answer_size) < 0:
            self.refused[FAILED] += 1
            return
        at = <byte *>zmq_msg_data(&said)
        memcpy(at, b"$ack/", 5)
        at += 5
        memcpy(at, token, token_size)
        at += token_size
        memcpy(at, b"/m\0", 3)
        at += 3
        memcpy(at, answer.head, answer.head_size)
        at += answer.head_size
        at[0], at[1] = 0xC4, <byte>nonce_size
        at += 2
        memcpy(at, nonce, nonce_size)
        at += nonce_size
        memcpy(at, answer.head + answer.head_size, answer.tail_size)
        self.answered += 1
        self.count(OUT_STREAM, answer_size)
        self.send(place, &said)
        zmq_msg_close(&said)

    # ── retained values ──────────────────────────────────────────────────────────────────────────────────────────

    cdef CErrand *new_errand(self, int place, const char *topic, size_t size) noexcept nogil:
        cdef CErrand *errand = new CErrand()
        errand.place = place
        errand.answers = errand.claims = False
        errand.tour.topic.assign(topic, size)
        self.errands.push_back(errand)
        return errand

    cdef void hear_of_retained(self, const byte *data, size_t size) noexcept nogil:
        """Another proxy claims values, or hands its own over."""
        cdef const byte *end = <const byte *>memchr(data, 0, size)
        if end == NULL or not self.table.hear(
            string_view(<const char *>end + 1, size - (end - data) - 1), now_us(), wall_ns()
        ):
            self.refused[FAILED] += 1

    cdef void tell_of_retained(self) noexcept nogil:
        """Claims and notices; and a slice of what was asked for."""
        cdef size_t i
        cdef int n
        if self.table.has_claims() and self.table.take_claims(string_view(b"$fabric/retained\0", 17), self.batch):
            self.say_to(LINK, -1)
        if not self.table.notices.empty():
            for i in range(self.table.notices.size()):
                self.batch.swap(self.table.notices[i])
                self.say_to(LINK, OUT)
            self.table.notices.clear()
        for n in range(SLICE):
            if self.errands.empty():
                return
            self.run_errand()

    cdef void run_errand(self) noexcept nogil:
        """Give the first one a batch."""
        cdef CErrand *errand = self.errands.front()
        cdef bint last
        self.errands.pop_front()
        if errand.claims:
            last = self.table.next_claims(errand.tour, self.batch)
        else:
            last = self.table.next(errand.tour, now_us(), self.batch)
        self.say_to(errand.place, -1)
        if not last:
            self.errands.push_back(errand)
            return
        if errand.answers:
            self.answer(
                errand.place,
                <const byte *>errand.token.data(),
                errand.token.size(),
                <const byte *>errand.tour.nonce.data(),
                errand.tour.nonce.size(),
            )
        del errand

    cdef void say_to(self, int place, int other) noexcept nogil:
        """Send the batch at one place, or at two; not at `link` where nobody is."""
        cdef zmq_message part
        self.count(OUT_STREAM, self.batch.size())
        if not self.fill(&part, <const byte *>self.batch.data(), self.batch.size()):
            return
        if place != LINK or self.used[LINK]:
            self.send_copy(place, &part)
        if other >= 0:
            self.send_copy(other, &part)
        zmq_msg_close(&part)

    cdef void tell_proxy(self, const byte *command, size_t size) noexcept nogil:
        """All claims, or all values, to one other proxy."""
        cdef vector[string] wanted
        cdef CErrand *errand
        cdef const byte *end = <const byte *>memchr(command, 0, size)
        cdef size_t length = end - command if end != NULL else 0
        if length == 0:
            self.refused[FAILED] += 1
            return
        wanted.push_back(string())
        errand = self.new_errand(LINK, b"", 0)
        errand.claims = command[0] == c"O"
        errand.tour = CTour(
            string_view(<const char *>command + 1, length),
            string_view(<const char *>end + 1, min(size - length - 1, <size_t>255)),
            wanted,
            True,
        )

    # ── control ──────────────────────────────────────────────────────────────────────────────────────────────────

    cdef void obey(self, zmq_message *command) noexcept nogil:
        cdef const byte *data = <const byte *>zmq_msg_data(command)
        cdef size_t size = zmq_msg_size(command)
        if size == 0 or data[0] == c"Q":
            self.ended = True
        elif data[0] == c"Y":
            self.send_new(-1, data + 1, size - 1)
        elif data[0] == c"G":
            self.load_rules()
        elif data[0] == c"W":
            self.sweep()
        elif data[0] == c"V":
            self.table.sweep(now_us(), SWEPT_AT_ONCE)
        elif data[0] == c"O" or data[0] == c"H":
            self.tell_proxy(data, size)
        elif data[0] == c"E":
            self.tell(CONTROL, data, size, True)
        elif size < 2 or data[1] >= PLACES:
            self.refused[FAILED] += 1
        elif data[0] == c"S":
            self.send_new(data[1], data + 2, size - 2)
        elif data[0] == c"X":
            self.turned_away[data[1]] = True
            self.items[data[1]].fd = -1  # poll passes it over
        elif data[0] == c"A":
            self.take_answer(data[1], data + 2, size - 2)
        else:
            self.change(data[0], data[1], data + 2, size - 2)

    cdef void sweep(self) noexcept nogil:
        if not self.guarded:
            return
        with gil:
            try:
                self.gate.sweep()
            except Exception:
                self.refused[FAILED] += 1

    cdef void load_rules(self) noexcept nogil:
        if not self.guarded:
            return
        with gil:
            try:
                self.verdicts.load()
            except Exception:  # no memory: better closed than open
                self.failure = ENOMEM

    cdef void send_new(self, int place, const byte *data, size_t size) noexcept nogil:
        """Send at one place; at -1: say."""
        cdef zmq_message part
        if not self.fill(&part, data, size):
            return
        if place < 0:
            self.say(&part)
        else:
            if place == OUT or place == LINK:
                self.count(OUT_STREAM, size)
            self.send(place, &part)
        zmq_msg_close(&part)

    cdef void take_answer(self, int place, const byte *data, size_t size) noexcept nogil:
        cdef uint32_t head_size
        cdef byte *block
        if size < 4:
            return
        memcpy(&head_size, data, 4)
        block = <byte *>malloc(size)
        if block == NULL or head_size > size - 4:
            free(block)
            return
        memcpy(block, data + 4, size - 4)
        free(self.answers[place].head)
        self.answers[place].head = block
        self.answers[place].head_size = head_size
        self.answers[place].tail_size = size - 4 - head_size

    cdef void change(self, byte letter, int place, const byte *endpoint, size_t size) noexcept nogil:
        """Bind, connect, disconnect, or expect a key; what libzmq refuses is reported."""
        cdef char address[MAX_ENDPOINT]
        cdef byte report[MAX_ENDPOINT + 6]
        cdef uint32_t number
        cdef int done
        if size >= MAX_ENDPOINT:
            self.refused[FAILED] += 1
            return
        memcpy(address, endpoint, size)
        address[size] = 0
        if letter == c"B":
            done = zmq_bind(self.handle[place], address)
        elif letter == c"C":
            done = zmq_connect(self.handle[place], address)
        elif letter == c"K":
            done = zmq_setsockopt(self.handle[place], ZMQ_CURVE_SERVERKEY, address, size)
        else:
            done = zmq_disconnect(self.handle[place], address)
        number = zmq_errno()
        self.sent[place] = True  # it handled what waited for this socket, too
        if done == 0:
            return
        report[0], report[1] = letter, <byte>place
        memcpy(report + 2, &number, 4)
        memcpy(report + 6, endpoint, size)
        self.tell(CONTROL, report, size + 6, True)

    cdef void tell(self, int place, const byte *data, size_t size, bint always) noexcept nogil:
        cdef zmq_message report
        cdef byte *at
        if not always and (
            (self.told > self.heard and self.told - self.heard > MAX_AHEAD)
            or (self.told_bytes > self.heard_bytes and self.told_bytes - self.heard_bytes > MAX_AHEAD_BYTES)
        ):
            self.refused[FLOODED] += 1
            return
        if zmq_msg_init_size(&report, size + 1) < 0:
            self.refused[FAILED] += 1
            return
        at = <byte *>zmq_msg_data(&report)
        at[0] = <byte>place
        memcpy(at + 1, data, size)
        self.told += 1
        self.told_bytes += size + 1
        self.send(CONTROL, &report)
        zmq_msg_close(&report)

    # ── both ways ────────────────────────────────────────────────────────────────────────────────────────────────

    cdef bint fill(self, zmq_message *part, const byte *data, size_t size) noexcept nogil:
        """Make a part of these bytes; False, and counted, where there is no memory."""
        if zmq_msg_init_size(part, size) < 0:
            self.refused[FAILED] += 1
            return False
        memcpy(zmq_msg_data(part), data, size)
        return True

    cdef void count(self, int stream, size_t size) noexcept nogil:
        self.parts[stream] += 1
        self.octets[stream] += size

    cdef void send_copy(self, int place, zmq_message *part) noexcept nogil:
        cdef zmq_message copy
        zmq_msg_init(&copy)
        if zmq_msg_copy(&copy, part) < 0:
            self.refused[FAILED] += 1
        else:
            self.send(place, &copy)
        zmq_msg_close(&copy)

    cdef void send(self, int place, zmq_message *part) noexcept nogil:
        """The part is empty afterwards, if it went. Never waits: XPUB and XSUB drop by themselves, the pair has room."""
        cdef int number
        if zmq_msg_send(part, self.handle[place], ZMQ_DONTWAIT) < 0:
            number = zmq_errno()
            if number == ETERM or number == ENOTSOCK:
                self.failure = number
            else:
                self.refused[FAILED] += 1
        self.sent[place] = True
