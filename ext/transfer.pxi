# Bodies on their way in: transfer.h as objects.

from cpython.buffer cimport PyBUF_WRITABLE
from libc.errno cimport EBADMSG, ECONNRESET
from libc.stdlib cimport free, malloc


cdef extern from "framing.h" nogil:
    ctypedef struct fr_framing:
        uint64_t left
        const char *fault
        bint is_chunked

    void fr_framing_sized(fr_framing *f, uint64_t length)
    void fr_framing_chunked(fr_framing *f)
    bint fr_framing_is_over(const fr_framing *f)


cdef extern from "transfer.h" nogil:
    ctypedef enum fr_stop:
        FR_STOP_WAIT
        FR_STOP_GONE
        FR_STOP_BAD

    ctypedef struct fr_inflow:
        int socket
        fr_framing framing
        const uint8_t *pending
        size_t pending_size
        uint64_t received
        uint64_t waited_ns
        const uint8_t *rest
        size_t rest_size

    ctypedef struct fr_sink:
        int fd
        uint64_t size
        uint64_t flushed
        fr_digest *digest
        int error

    fr_stop fr_receive(fr_inflow *inflow, uint8_t *to, size_t size, size_t *count)
    size_t fr_pour_room(const fr_inflow *inflow, uint64_t max)
    fr_stop fr_pour(fr_inflow *inflow, fr_sink *out, uint64_t max, uint8_t *room)


@cython.final
@cython.auto_pickle(False)
cdef class Sink:
    cdef fr_sink out
    cdef object file
    cdef _Digest digest

    def __init__(self, file, uint64_t size, _Digest digest, /):
        self.file = file
        self.digest = digest
        self.out.size = self.out.flushed = size
        self.out.digest = NULL if digest is None else &digest.state

    @property
    def size(self):
        if self.digest is None:
            return self.out.size
        with self.digest.lock:
            return self.out.size

    @property
    def failure(self):
        return OSError(self.out.error, os.strerror(self.out.error)) if self.out.error else None


@cython.final
@cython.auto_pickle(False)
cdef class Inflow:
    cdef fr_inflow inflow
    cdef bytes pending
    # A duplicate of the socket, for a thread that may outlive whoever began it: the thread
    # closes what was released meanwhile. -1 where there is none.
    cdef int duplicate
    cdef bint is_pouring
    cdef bint is_released
    cdef fr_stop last_stop

    def __cinit__(self, length, /):
        self.duplicate = -1
        self._set_pending(b"")
        if length is None:
            fr_framing_chunked(&self.inflow.framing)
        else:
            fr_framing_sized(&self.inflow.framing, length)

    def __dealloc__(self):
        self._close()

    @property
    def is_over(self):
        return fr_framing_is_over(&self.inflow.framing)

    @property
    def left(self):
        return None if self.inflow.framing.is_chunked else self.inflow.framing.left

    @property
    def is_dry(self):
        return self.last_stop == FR_STOP_WAIT

    @property
    def received(self):
        return self.inflow.received

    @property
    def waited_s(self):
        return self.inflow.waited_ns / 1e9

    def put_in_front(self, bytes data, /):
        self._check_unused()
        self._set_pending(data)

    def take_rest(self):
        self._check_unused()
        rest = self.pending[len(self.pending) - self.inflow.pending_size :]
        self._set_pending(b"")
        return rest

    def receive(self, int socket, buffer, /):
        cdef Py_buffer view
        cdef size_t count
        cdef fr_stop stop
        self._check_unused()
        self.inflow.socket = socket
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            stop = fr_receive(&self.inflow, <uint8_t *>view.buf, <size_t>view.len, &count)
            return self._outcome(stop, count)
        finally:
            PyBuffer_Release(&view)

    def hold(self, int socket, /):
        self._check_unused()
        self.duplicate = os.dup(socket)
        self.is_released = False

    def release(self):
        self.is_released = True
        if not self.is_pouring:
            self._close()

    def pour(self, Sink sink not None, uint64_t max_bytes, /):
        self._check_unused()
        if self.is_released or self.duplicate < 0:
            raise ValueError("no socket is held")
        self.is_pouring = True
        try:
            with sink.file as fd:
                sink.out.fd = fd
                return self._pour(sink, max_bytes)
        finally:
            self.is_pouring = False
            if self.is_released:
                self._close()

    cdef _pour(self, Sink sink, uint64_t max_bytes):
        cdef uint64_t begun = sink.out.size
        cdef uint8_t *room = <uint8_t *>malloc(fr_pour_room(&self.inflow, max_bytes) or 1)
        cdef fr_stop stop
        if room == NULL:
            raise MemoryError
        self.inflow.socket = self.duplicate
        try:
            if sink.digest is None:
                with nogil:
                    stop = fr_pour(&self.inflow, &sink.out, max_bytes, room)
            else:
                with sink.digest.lock, nogil:
                    stop = fr_pour(&self.inflow, &sink.out, max_bytes, room)
            return self._outcome(stop, sink.out.size - begun)
        finally:
            free(room)

    cdef _outcome(self, fr_stop stop, uint64_t count):
        self.last_stop = stop
        if self.inflow.rest_size:
            self._set_pending(PyBytes_FromStringAndSize(
                <const char *>self.inflow.rest, self.inflow.rest_size
            ))
        if count:
            return count
        if stop == FR_STOP_WAIT:
            return None
        if stop == FR_STOP_GONE:
            raise ConnectionResetError(ECONNRESET, "the client left")
        if stop == FR_STOP_BAD:
            raise OSError(EBADMSG, self.inflow.framing.fault.decode())
        return 0

    cdef _set_pending(self, bytes data):
        self.pending = data
        self.inflow.pending = <const uint8_t *>PyBytes_AS_STRING(data)
        self.inflow.pending_size = len(data)

    cdef _check_unused(self):
        if self.is_pouring:
            raise RuntimeError("a thread is receiving this body")

    cdef _close(self):
        if self.duplicate >= 0:
            os.close(self.duplicate)
            self.duplicate = -1
