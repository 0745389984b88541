# The digests: digest.h as objects.

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t


cdef extern from "digest.h" nogil:
    ctypedef enum fr_algorithm:
        FR_SHA256
        FR_SHA512

    ctypedef struct fr_digest:
        fr_algorithm algorithm
        uint64_t length

    size_t fr_digest_size(fr_algorithm algorithm)
    size_t fr_digest_state_size(fr_algorithm algorithm)
    void fr_digest_init(fr_digest *d, fr_algorithm algorithm)
    int fr_digest_update(fr_digest *d, const void *data, size_t size)
    void fr_digest_value(const fr_digest *d, uint8_t *out)
    void fr_digest_export(const fr_digest *d, uint8_t *out)
    int fr_digest_restore(fr_digest *d, fr_algorithm algorithm, const uint8_t *state, size_t size)


# Below this many bytes, giving the GIL away costs more than hashing them.
cdef enum:
    RELEASE_GIL_FROM = 2048


@cython.auto_pickle(False)
cdef class _Digest:
    # The lock is what keeps a second thread out while a first one hashes without the
    # GIL; waiting for it lets go of the GIL.
    cdef cython.pymutex lock
    cdef fr_digest state

    def __cinit__(self):
        if type(self) is _Digest:
            raise TypeError("use Sha256 or Sha512")

    @property
    def length(self):
        with self.lock:
            return self.state.length

    def update(self, data, /):
        cdef Py_buffer view
        cdef int failed
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            with self.lock:
                if view.len < RELEASE_GIL_FROM:
                    failed = fr_digest_update(&self.state, view.buf, <size_t>view.len)
                else:
                    with nogil:
                        failed = fr_digest_update(&self.state, view.buf, <size_t>view.len)
        finally:
            PyBuffer_Release(&view)
        if failed:
            raise OverflowError("a digest takes less than 2**61 bytes")

    def digest(self):
        cdef bytes out = PyBytes_FromStringAndSize(NULL, fr_digest_size(self.state.algorithm))
        with self.lock:
            fr_digest_value(&self.state, <uint8_t *>PyBytes_AS_STRING(out))
        return out

    def hexdigest(self):
        return self.digest().hex()

    def export_state(self):
        cdef bytes out = PyBytes_FromStringAndSize(
            NULL, fr_digest_state_size(self.state.algorithm)
        )
        with self.lock:
            fr_digest_export(&self.state, <uint8_t *>PyBytes_AS_STRING(out))
        return out

    @classmethod
    def restore(cls, state, /):
        cdef _Digest made = cls()
        cdef Py_buffer view
        cdef int failed
        PyObject_GetBuffer(state, &view, PyBUF_SIMPLE)
        try:
            failed = fr_digest_restore(
                &made.state, made.state.algorithm, <const uint8_t *>view.buf, <size_t>view.len
            )
        finally:
            PyBuffer_Release(&view)
        if failed:
            raise ValueError(f"not a stored state of {made.name}")
        return made


@cython.final
cdef class Sha256(_Digest):
    name = "sha256"

    def __cinit__(self):
        fr_digest_init(&self.state, FR_SHA256)


@cython.final
cdef class Sha512(_Digest):
    name = "sha512"

    def __cinit__(self):
        fr_digest_init(&self.state, FR_SHA512)
