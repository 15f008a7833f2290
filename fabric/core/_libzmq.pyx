# cython: language_level=3
"""libzmq as pyzmq has loaded it: its functions, looked up by name.

Nothing is linked, and no second libzmq is shipped: a socket that pyzmq made is used by the very library that made it.
`zmq.backend.cython._zmq` depends on that library; a name that is looked up in it is looked up there, too.

Raises ImportError where this cannot be: another backend of pyzmq (PyPy has one), or a libzmq before 4.2. Then the
twins run.
"""

from libc.stdint cimport uintptr_t

import ctypes

import zmq

if zmq.zmq_version_info() < (4, 2):  # a message had 32 bytes before, and has 64 since
    raise ImportError(f"libzmq {zmq.zmq_version()}: expected 4.2 or newer")
try:
    import zmq.backend.cython._zmq as backend

    library = ctypes.CDLL(backend.__file__)
except (ImportError, OSError, AttributeError) as error:
    raise ImportError(f"the library of pyzmq's backend cannot be found: {error}") from error


cdef uintptr_t address(str name) except 0:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    except AttributeError as error:
        raise ImportError(f"libzmq {zmq.zmq_version()} has no {name}") from error


zmq_msg_init = <message_fun>address("zmq_msg_init")
zmq_msg_init_size = <message_size_fun>address("zmq_msg_init_size")
zmq_msg_init_data = <message_adopt_fun>address("zmq_msg_init_data")
zmq_msg_close = <message_fun>address("zmq_msg_close")
zmq_msg_copy = <message_pair_fun>address("zmq_msg_copy")
zmq_msg_move = <message_pair_fun>address("zmq_msg_move")
zmq_msg_data = <message_data_fun>address("zmq_msg_data")
zmq_msg_size = <message_length_fun>address("zmq_msg_size")
zmq_msg_more = <message_more_fun>address("zmq_msg_more")
zmq_msg_recv = <transfer_fun>address("zmq_msg_recv")
zmq_msg_send = <transfer_fun>address("zmq_msg_send")
zmq_bind = <address_fun>address("zmq_bind")
zmq_connect = <address_fun>address("zmq_connect")
zmq_disconnect = <address_fun>address("zmq_disconnect")
zmq_setsockopt = <set_option_fun>address("zmq_setsockopt")
zmq_getsockopt = <get_option_fun>address("zmq_getsockopt")
zmq_poll = <poll_fun>address("zmq_poll")
zmq_errno = <errno_fun>address("zmq_errno")
zmq_msg_gets = <property_fun>address("zmq_msg_gets")
zmq_msg_get = <message_get_fun>address("zmq_msg_get")


cdef void *handle_of(object socket) except NULL:
    cdef uintptr_t handle = socket.underlying  # 0 once it is closed
    if handle == 0:
        raise ValueError("invalid socket: expected an open one")
    return <void *>handle


def error_number() -> int:
    """errno of this thread, as libzmq sees it."""
    return zmq_errno()
