# The fast lane: lane.h as objects.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memset


cdef extern from "lane.h" nogil:
    enum:
        FR_MAX_WITNESSES

    ctypedef struct fr_witness:
        const char *path
        uint64_t device
        uint64_t inode
        int64_t mtime_ns
        int64_t ctime_ns
        int64_t size
        const uint64_t *counter
        uint64_t value

    ctypedef struct fr_draft:
        const char *head
        size_t head_size
        const char *body
        int fd
        uint64_t file_offset
        uint64_t body_size
        int64_t until
        const fr_witness *witnesses
        unsigned witness_count

    ctypedef struct fr_answer:
        int fd
        uint64_t file_offset

    ctypedef struct fr_sending:
        fr_answer *answer
        uint64_t at
        uint64_t end

    uint64_t fr_sending_window(const fr_sending *s)
    int fr_file_is_resident(int fd, uint64_t offset, uint64_t size)

    ctypedef struct fr_connection:
        fr_sending *sending
        char *received
        size_t received_size
        int fd
        unsigned listener
        unsigned char has_served
        char *address

    ctypedef struct fr_connections:
        int poll_fd
        size_t count

    void fr_connection_take(fr_connection *c)
    void fr_connection_free(fr_connection *c)

    ctypedef struct fr_access_lines:
        char *data
        size_t size
        uint64_t lost

    ctypedef enum fr_event_kind:
        FR_HANDOVER
        FR_COLD_READ

    ctypedef struct fr_event:
        fr_event_kind kind
        fr_connection *connection

    ctypedef struct fr_lane_settings:
        int64_t head_timeout_ms
        int64_t idle_timeout_ms
        int64_t send_timeout_ms
        int logs_access

    ctypedef struct fr_table:
        size_t answers

    ctypedef struct fr_lane:
        fr_table table
        fr_access_lines lines
        fr_connections connections
        uint64_t answered
        fr_event *events
        size_t event_count

    int fr_lane_init(fr_lane *lane, const fr_lane_settings *settings)
    void fr_lane_free(fr_lane *lane)
    int fr_lane_adopt(fr_lane *lane, int fd, const char *address, unsigned listener,
                      const char *data, size_t size, int has_served)
    int fr_lane_accept(fr_lane *lane, int socket, unsigned listener)
    void fr_lane_turn(fr_lane *lane)
    void fr_lane_tick(fr_lane *lane)
    int64_t fr_lane_waited_ms(const fr_lane *lane, const fr_connection *connection)
    void fr_lane_resume(fr_lane *lane, fr_connection *connection)
    void fr_lane_drain(fr_lane *lane)
    void fr_lane_cut_sending(fr_lane *lane)
    void fr_lane_drop_idle(fr_lane *lane, int64_t grace_ms)
    int fr_lane_publish(fr_lane *lane, const char *request, size_t size, fr_draft *draft)


@cython.final
@cython.auto_pickle(False)
cdef class Handover:
    cdef readonly int fd
    cdef readonly str address
    cdef readonly unsigned listener
    cdef readonly bytes data
    cdef readonly bint has_served
    cdef readonly double waited_s


@cython.final
@cython.auto_pickle(False)
cdef class ColdRead:
    cdef fr_connection *connection
    cdef readonly int fd
    cdef readonly uint64_t offset
    cdef readonly uint64_t length
    cdef readonly uint64_t ahead


@cython.final
@cython.auto_pickle(False)
cdef class Lane:
    cdef fr_lane lane
    cdef bint is_open
    cdef Py_buffer generations

    def __cinit__(
        self, *, double head_timeout_s, double idle_timeout_s, double send_timeout_s,
        bint logs_access, generations=None,
    ):
        cdef fr_lane_settings settings
        settings.head_timeout_ms = <int64_t>(head_timeout_s * 1000)
        settings.idle_timeout_ms = <int64_t>(idle_timeout_s * 1000)
        settings.send_timeout_ms = <int64_t>(send_timeout_s * 1000)
        settings.logs_access = logs_access
        if fr_lane_init(&self.lane, &settings) != 0:
            raise _os_error()
        self.is_open = True
        if generations is not None:
            PyObject_GetBuffer(generations, &self.generations, PyBUF_SIMPLE)

    def __dealloc__(self):
        self.close()

    def fileno(self):
        return self.lane.connections.poll_fd

    @property
    def connections(self):
        return self.lane.connections.count

    @property
    def answered(self):
        return self.lane.answered

    @property
    def published(self):
        return self.lane.table.answers

    @property
    def lines_size(self):
        return self.lane.lines.size

    def adopt(self, int fd, str address, unsigned listener, bytes data, bint has_served):
        cdef bytes encoded = address.encode("latin-1", "replace")
        self._check_open()
        if fr_lane_adopt(
            &self.lane, fd, encoded, listener, data, <size_t>len(data), has_served
        ) != 0:
            raise _os_error()

    def accept(self, int socket, unsigned listener):
        self._check_open()
        cdef int accepted = fr_lane_accept(&self.lane, socket, listener)
        if accepted < 0:
            raise _os_error()
        return bool(accepted)

    def turn(self):
        if not self.is_open:
            return []
        with nogil:
            fr_lane_turn(&self.lane)
        return self._take_events() if self.lane.event_count else []

    def tick(self):
        if not self.is_open:
            return []
        fr_lane_tick(&self.lane)
        return self._take_events()

    def resume(self, ColdRead read):
        cdef fr_connection *connection = read.connection
        if connection is NULL:
            return []
        read.connection = NULL
        if not self.is_open:
            fr_connection_free(connection)
            return []
        with nogil:
            fr_lane_resume(&self.lane, connection)
        return self._take_events()

    cdef list _take_events(self):
        cdef fr_event event
        cdef size_t number
        events = []
        for number in range(self.lane.event_count):
            event = self.lane.events[number]
            if event.kind == FR_HANDOVER:
                events.append(self._take_handover(event.connection))
            else:
                events.append(_cold_read(event.connection))
        return events

    cdef Handover _take_handover(self, fr_connection *connection):
        cdef Handover taken = Handover.__new__(Handover)
        taken.fd = connection.fd
        taken.address = (<bytes>connection.address).decode("latin-1")
        taken.listener = connection.listener
        taken.data = connection.received[:connection.received_size]
        taken.has_served = connection.has_served
        taken.waited_s = fr_lane_waited_ms(&self.lane, connection) / 1000.0
        fr_connection_take(connection)
        fr_connection_free(connection)
        return taken

    def publish(self, bytes request, bytes head, list segments, tuple witnesses, until=None):
        cdef fr_witness given[FR_MAX_WITNESSES]
        cdef fr_draft draft
        cdef unsigned count = 0
        if not self.is_open or len(witnesses) > FR_MAX_WITNESSES or len(segments) > 1:
            return False
        memset(&draft, 0, sizeof(draft))
        memset(given, 0, sizeof(given))
        for witness in witnesses:
            if isinstance(witness[0], bytes):
                _take_file(&given[count], witness)
            elif not self._take_counter(&given[count], witness):
                return False
            count += 1
        draft.head = head
        draft.head_size = <size_t>len(head)
        draft.witnesses = given
        draft.witness_count = count
        draft.until = INT64_MAX if until is None else <int64_t>(<double>until * 1000)
        draft.fd = -1
        for segment in segments:
            if isinstance(segment, bytes):
                draft.body = <const char *>(<bytes>segment)
                draft.body_size = <size_t>len(segment)
            else:
                draft.fd = segment[0]
                draft.file_offset = segment[1]
                draft.body_size = segment[2]
        return fr_lane_publish(&self.lane, request, <size_t>len(request), &draft) == 0

    cdef bint _take_counter(self, fr_witness *given, witness) except -1:
        cdef Py_ssize_t counter = witness[0]
        if not 0 <= counter < self.generations.len // <Py_ssize_t>sizeof(uint64_t):
            return False
        given.counter = <const uint64_t *>self.generations.buf + counter
        given.value = witness[1]
        return True

    def take_lost(self):
        lost = self.lane.lines.lost
        self.lane.lines.lost = 0
        return lost

    def take_lines(self):
        cdef bytes lines = self.lane.lines.data[:self.lane.lines.size]
        self.lane.lines.size = 0
        return lines

    def drain(self):
        if self.is_open:
            fr_lane_drain(&self.lane)

    def drop_idle(self, double grace_s):
        if self.is_open:
            fr_lane_drop_idle(&self.lane, <int64_t>(grace_s * 1000))

    def cut_sending(self):
        if self.is_open:
            fr_lane_cut_sending(&self.lane)

    def close(self):
        if self.is_open:
            self.is_open = False
            fr_lane_free(&self.lane)
            PyBuffer_Release(&self.generations)

    cdef _check_open(self):
        if not self.is_open:
            raise ValueError("the lane is closed")


def is_resident(int fd, uint64_t offset, uint64_t length):
    return bool(fr_file_is_resident(fd, offset, length))


cdef _take_file(fr_witness *given, witness):
    given.path = <const char *>(<bytes>witness[0])
    given.device = witness[1]
    given.inode = witness[2]
    given.mtime_ns = witness[3]
    given.ctime_ns = witness[4]
    given.size = witness[5]


cdef ColdRead _cold_read(fr_connection *connection):
    cdef ColdRead read = ColdRead.__new__(ColdRead)
    cdef const fr_sending *sending = connection.sending
    read.connection = connection
    read.fd = sending.answer.fd
    read.offset = sending.answer.file_offset + sending.at
    read.length = fr_sending_window(sending)
    read.ahead = min(sending.end - sending.at - read.length, read.length)
    return read


cdef _os_error():
    return OSError(errno, os.strerror(errno))
