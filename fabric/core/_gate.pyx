# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Who may publish what, compiled: the table of a `Gate`, without the GIL. The twin is `gate.Gate.refusal`.

For each descriptor it remembers whose connection it is, so that a part costs one look at its user id, and then its
owner's patterns, one after the other, a few ns each. Nothing is kept by topic: there is nothing to bound or to forget.
"""

from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memchr, memcmp, memcpy, memset, strlen, strncmp

from fabric.core.gate import SERIAL_CHARS
from fabric.core.steering import Place
from fabric.rights import ANY, REST

assert SERIAL_CHARS == 16 and (ANY, REST) == (b"\x01", b"\x02") and Place.PULL == 1
cdef enum:
    KEY_CHARS = 40
    MAX_DESCRIPTOR = 1 << 22
    PULL = 1  # of `steering.Place`


cdef const char *HEX = b"0123456789abcdef"


cdef bint matches(const byte *pattern, size_t length, const byte *topic, size_t size) noexcept nogil:
    """See `rights.matches`."""
    cdef size_t i, at = 0
    if length and pattern[0] == 1 and size and (topic[0] == c"$" or topic[0] == c"~"):
        return False
    for i in range(length):
        if pattern[i] == 1:
            while at < size and topic[at] != c"/":
                at += 1
        elif pattern[i] == 2:
            return at == size or topic[at] == c"/"
        elif at < size and topic[at] == pattern[i]:
            at += 1
        else:
            return False
    return at == size


cdef bint any_matches(const Pattern *patterns, size_t count, const byte *topic, size_t size) noexcept nogil:
    cdef size_t i
    for i in range(count):
        if matches(patterns[i].at, patterns[i].size, topic, size):
            return True
    return False


cdef bint may_publish(const Owner *owner, const byte *topic, size_t size) noexcept nogil:
    """See `rights.Permissions.may_publish`."""
    cdef const byte *end = topic + size
    cdef const byte *at
    cdef const byte *token
    cdef int i
    if size < 8 or memcmp(topic, b"$repair/", 8) != 0:
        if size == 7 and memcmp(topic, b"$repair", 7) == 0:
            return False
        return any_matches(owner.allow, owner.allowed, topic, size) and not any_matches(
            owner.deny, owner.denied, topic, size
        )
    token = <const byte *>memchr(topic + 8, c"/", size - 8)
    if token == NULL:
        return False
    token += 1
    at = <const byte *>memchr(token, c"/", end - token) if token < end else NULL
    if at == NULL or at - token < 8:
        return False
    for i in range(8):
        if token[i] != HEX[(owner.tag[i >> 1] >> (0 if i & 1 else 4)) & 15]:
            return False
    at += 1
    return any_matches(owner.hold, owner.held, at, end - at) and not any_matches(
        owner.shun, owner.shunned, at, end - at
    )


cdef class Verdicts:
    """gate: whose table this is; `load` reads it again. For the switch's thread alone."""

    def __cinit__(self, gate):
        self.gate = gate
        self.load()

    def __dealloc__(self):
        self.forget()
        free(self.seats)

    cdef void forget(self) noexcept:
        cdef size_t i
        for i in range(self.count):
            free(self.owners[i].allow)
            free(self.owners[i].deny)
            free(self.owners[i].hold)
            free(self.owners[i].shun)
        free(self.owners)
        self.owners = NULL
        self.count = 0

    def load(self):
        """Take the gate's present table. All that was remembered of connections is looked up again."""
        cdef size_t i, n
        self.forget()
        table = [row for row in self.gate.table() if len(row[0]) == KEY_CHARS]
        self.keep = table
        self.owners = <Owner *>calloc(max(1, len(table)), sizeof(Owner))
        if self.owners == NULL:
            raise MemoryError
        for i, (key, tag, allow, deny, hold, shun) in enumerate(table):
            memcpy(self.owners[i].key, <const char *>key, KEY_CHARS)
            tag_bytes = int(tag).to_bytes(4, "big")
            memcpy(self.owners[i].tag, <const char *>tag_bytes, 4)
            self.owners[i].allow = patterns(allow)
            self.owners[i].allowed = len(allow)
            self.owners[i].deny = patterns(deny)
            self.owners[i].denied = len(deny)
            self.owners[i].hold = patterns(hold)
            self.owners[i].held = len(hold)
            self.owners[i].shun = patterns(shun)
            self.owners[i].shunned = len(shun)
            self.count = i + 1
        for n in range(self.room):
            self.seats[n].owner = UNSEEN

    def refusal(self, int descriptor, bytes user, bytes topic, bytes body):
        """Return what `gate.Gate.refusal` does: for tests."""
        cdef int kind = self.judge(
            descriptor, user, <const byte *><const char *>topic, len(topic), <const byte *><const char *>body, len(body)
        )
        return (None, "not_allowed", "forged")[kind]

    cdef Seat *seat(self, int descriptor) noexcept nogil:
        """Return the place of a descriptor; NULL where there is no memory for it."""
        cdef size_t room
        cdef Seat *seats
        if descriptor < 0 or descriptor >= MAX_DESCRIPTOR:
            return NULL
        if <size_t>descriptor >= self.room:
            room = 2 * <size_t>descriptor + 64
            seats = <Seat *>realloc(self.seats, room * sizeof(Seat))
            if seats == NULL:
                return NULL
            memset(seats + self.room, 0, (room - self.room) * sizeof(Seat))
            while self.room < room:
                seats[self.room].owner = UNSEEN
                self.room += 1
            self.seats = seats
        return self.seats + descriptor

    cdef bint meet(self, Seat *seat, int place, int descriptor, const char *user) noexcept nogil:
        """Look up whose connection this is, and tell the gate."""
        cdef size_t i
        memcpy(seat.serial, user, 16)
        seat.owner = UNKNOWN
        for i in range(self.count):
            if strncmp(<const char *>self.owners[i].key, user + 16, KEY_CHARS) == 0:
                seat.owner = <int32_t>i
                break
        with gil:
            try:
                self.gate.meet(Place(place), descriptor, <bytes>user)
            except Exception:  # it makes a note only
                return False
        return True

    cdef void see(self, int place, int descriptor, const char *user) noexcept nogil:
        """Somebody sends at a place where nothing is judged: the gate is told once, so that it can be cut."""
        cdef Seat *seat = self.seat(descriptor)
        if seat == NULL or user == NULL or strlen(user) < 16:
            return
        if seat.owner == UNSEEN or memcmp(seat.serial, user, 16) != 0:
            self.meet(seat, place, descriptor, user)

    cdef int judge(
        self, int descriptor, const char *user, const byte *topic, size_t size, const byte *body, size_t rest
    ) noexcept nogil:
        """0: it may enter; 1: not allowed; 2: forged."""
        cdef Seat *seat = self.seat(descriptor)
        cdef Owner *owner
        if seat == NULL or user == NULL or strlen(user) != 16 + KEY_CHARS:
            return 1
        if seat.owner == UNSEEN or memcmp(seat.serial, user, 16) != 0:
            self.meet(seat, <int>PULL, descriptor, user)
        if seat.owner < 0:
            return 1
        owner = self.owners + seat.owner
        if not may_publish(owner, topic, size):
            return 1
        if rest < 7 or body[1] != 1 or body[2] != 0xCF or memcmp(body + 3, owner.tag, 4) != 0:
            return 2
        return 0


cdef Pattern *patterns(tuple given) except NULL:
    """Return pointers into `given`, which is to be kept."""
    cdef Pattern *found = <Pattern *>calloc(max(1, len(given)), sizeof(Pattern))
    cdef size_t i
    if found == NULL:
        raise MemoryError
    for i, each in enumerate(given):
        found[i].at = <const byte *><const char *>each
        found[i].size = len(each)
    return found
