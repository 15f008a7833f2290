# cython: language_level=3
"""libzmq as pyzmq has loaded it: types, and pointers to its functions. For `cimport` by the compiled modules.

A pointer is set when `fabric.core._libzmq` is imported, which happens before any module that takes one from here.
source: zmq.h of libzmq 4.3
"""

cdef extern from *:
    """
    #ifndef FABRIC_LIBZMQ
    #define FABRIC_LIBZMQ
    typedef struct { unsigned char opaque[64] __attribute__((aligned(sizeof(void *)))); } fabric_message;
    typedef struct { void *socket; int fd; short events; short revents; } fabric_poll_item;
    #endif
    """
    ctypedef struct zmq_message "fabric_message":
        pass
    ctypedef struct zmq_poll_item "fabric_poll_item":
        void *socket
        int fd
        short events
        short revents

ctypedef int (*message_fun)(zmq_message *) noexcept nogil
ctypedef int (*message_size_fun)(zmq_message *, size_t) noexcept nogil
ctypedef int (*message_pair_fun)(zmq_message *, zmq_message *) noexcept nogil
ctypedef void *(*message_data_fun)(zmq_message *) noexcept nogil
ctypedef size_t (*message_length_fun)(const zmq_message *) noexcept nogil
ctypedef int (*message_more_fun)(const zmq_message *) noexcept nogil
ctypedef void free_fun(void *, void *) noexcept nogil
ctypedef int (*message_adopt_fun)(zmq_message *, void *, size_t, free_fun *, void *) noexcept nogil
ctypedef int (*transfer_fun)(zmq_message *, void *, int) noexcept nogil
ctypedef int (*address_fun)(void *, const char *) noexcept nogil
ctypedef int (*set_option_fun)(void *, int, const void *, size_t) noexcept nogil
ctypedef int (*get_option_fun)(void *, int, void *, size_t *) noexcept nogil
ctypedef int (*poll_fun)(zmq_poll_item *, int, long) noexcept nogil
ctypedef int (*errno_fun)() noexcept nogil
ctypedef const char *(*property_fun)(const zmq_message *, const char *) noexcept nogil
ctypedef int (*message_get_fun)(const zmq_message *, int) noexcept nogil

cdef message_fun zmq_msg_init
cdef message_size_fun zmq_msg_init_size
cdef message_adopt_fun zmq_msg_init_data
cdef message_fun zmq_msg_close
cdef message_pair_fun zmq_msg_copy
cdef message_pair_fun zmq_msg_move
cdef message_data_fun zmq_msg_data
cdef message_length_fun zmq_msg_size
cdef message_more_fun zmq_msg_more
cdef transfer_fun zmq_msg_recv
cdef transfer_fun zmq_msg_send
cdef address_fun zmq_bind
cdef address_fun zmq_connect
cdef address_fun zmq_disconnect
cdef set_option_fun zmq_setsockopt
cdef get_option_fun zmq_getsockopt
cdef poll_fun zmq_poll
cdef errno_fun zmq_errno
cdef property_fun zmq_msg_gets
cdef message_get_fun zmq_msg_get

cdef enum:
    ZMQ_DONTWAIT = 1
    ZMQ_SRCFD = 2  # of zmq_msg_get
    ZMQ_SNDMORE = 2
    ZMQ_POLLIN = 1
    ZMQ_POLLOUT = 2
    ZMQ_SUBSCRIBE = 6
    ZMQ_UNSUBSCRIBE = 7
    ZMQ_CURVE_SERVERKEY = 50

cdef void *handle_of(object socket) except NULL
"""The C handle of a pyzmq socket. It lives as long as the socket is open: keep the socket."""
