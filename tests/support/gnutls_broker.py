"""The little MQTT broker on GnuTLS's server side, with session IDs in a cache of its own.

gnutls-serv cannot be made to speak MQTT: it echoes or answers HTTP. So this is the same library
that it is linked with (``libgnutls.so.30``), called through cffi, which comes with cryptography.
"""
from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import cffi  # type: ignore[import-untyped]

from tests.support.mqtt_broker import MqttBroker, MqttClient

_ffi = cffi.FFI()
_ffi.cdef("""
typedef ... *gnutls_session_t;
typedef ... *gnutls_certificate_credentials_t;
typedef struct { unsigned char *data; unsigned int size; } gnutls_datum_t;
typedef int (*gnutls_db_store_func)(void *, gnutls_datum_t, gnutls_datum_t);
typedef int (*gnutls_db_remove_func)(void *, gnutls_datum_t);
typedef gnutls_datum_t (*gnutls_db_retr_func)(void *, gnutls_datum_t);
const char *gnutls_check_version(const char *);
const char *gnutls_strerror(int);
extern void *(*gnutls_malloc)(size_t);
int gnutls_certificate_allocate_credentials(gnutls_certificate_credentials_t *);
int gnutls_certificate_set_x509_key_file(gnutls_certificate_credentials_t, const char *,
                                         const char *, int);
void gnutls_certificate_free_credentials(gnutls_certificate_credentials_t);
int gnutls_init(gnutls_session_t *, unsigned int);
void gnutls_deinit(gnutls_session_t);
int gnutls_priority_set_direct(gnutls_session_t, const char *, const char **);
int gnutls_credentials_set(gnutls_session_t, int, void *);
void gnutls_db_set_store_function(gnutls_session_t, gnutls_db_store_func);
void gnutls_db_set_retrieve_function(gnutls_session_t, gnutls_db_retr_func);
void gnutls_db_set_remove_function(gnutls_session_t, gnutls_db_remove_func);
void gnutls_transport_set_int2(gnutls_session_t, int, int);
void gnutls_handshake_set_timeout(gnutls_session_t, unsigned int);
void gnutls_record_set_timeout(gnutls_session_t, unsigned int);
int gnutls_handshake(gnutls_session_t);
int gnutls_alert_send_appropriate(gnutls_session_t, int);
ssize_t gnutls_record_send(gnutls_session_t, const void *, size_t);
ssize_t gnutls_record_recv(gnutls_session_t, void *, size_t);
int gnutls_bye(gnutls_session_t, int);
""")
_SERVER, _PEM, _CERTIFICATE, _SHUT_WR = 1, 1, 1, 1
_INTERRUPTED = (-28, -52)
"""GNUTLS_E_AGAIN, GNUTLS_E_INTERRUPTED."""
_TIMED_OUT = -319
PRIORITY = "NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_TICKETS"
"""What GnuTLS does by default, in TLS 1.2 and without tickets."""


class GnuTlsError(OSError):
    """GnuTLS gave up on a connection."""


class GnuTlsBroker(MqttBroker):
    """A broker on GnuTLS, until :meth:`stop`."""

    silence_s = None

    def __init__(self, cert_file: Path, key_file: Path, **options: Any) -> None:
        self._library = _ffi.dlopen("libgnutls.so.30")
        self.version: str = _ffi.string(self._library.gnutls_check_version(_ffi.NULL)).decode()
        self.kept: dict[bytes, bytes] = {}
        """What GnuTLS keeps of each session, by its ID."""
        self._keeping = threading.Lock()
        # GnuTLS keeps a session only after its Finished is on the wire: a client that is back at
        # once must not come first. gnutls-serv does one thing after the other in any case.
        self._shaking_hands = threading.Lock()
        # Kept alive as long as GnuTLS may call them.
        self._callbacks = (
            _ffi.callback("int(void *, gnutls_datum_t, gnutls_datum_t)", self._store),
            _ffi.callback("gnutls_datum_t(void *, gnutls_datum_t)", self._retrieve),
            _ffi.callback("int(void *, gnutls_datum_t)", self._remove))
        made = _ffi.new("gnutls_certificate_credentials_t *")
        self._check(self._library.gnutls_certificate_allocate_credentials(made))
        self._credentials = made[0]
        self._check(self._library.gnutls_certificate_set_x509_key_file(
            self._credentials, str(cert_file).encode(), str(key_file).encode(), _PEM))
        super().__init__(cert_file, key_file, **options)

    def _store(self, _: Any, key: Any, data: Any) -> int:
        with self._keeping:
            self.kept[bytes(_ffi.buffer(key.data, key.size))] = bytes(
                _ffi.buffer(data.data, data.size))
        return 0

    def _retrieve(self, _: Any, key: Any) -> Any:
        with self._keeping:
            found = self.kept.get(bytes(_ffi.buffer(key.data, key.size))) if self._cache else None
        if found is None:
            return _ffi.new("gnutls_datum_t *", {"data": _ffi.NULL, "size": 0})[0]
        # GnuTLS frees it with its own allocator.
        memory = self._library.gnutls_malloc(len(found))
        _ffi.memmove(memory, found, len(found))
        return _ffi.new("gnutls_datum_t *", {"data": memory, "size": len(found)})[0]

    def _remove(self, _: Any, key: Any) -> int:
        with self._keeping:
            self.kept.pop(bytes(_ffi.buffer(key.data, key.size)), None)
        return 0

    def _check(self, code: int) -> int:
        if code < 0:
            text = _ffi.string(self._library.gnutls_strerror(code)).decode()
            raise (TimeoutError if code == _TIMED_OUT else GnuTlsError)(text)
        return code

    def talk(self, connection: socket.socket) -> None:
        """Speak MQTT over GnuTLS."""
        made = _ffi.new("gnutls_session_t *")
        self._check(self._library.gnutls_init(made, _SERVER))
        try:
            self._talk(made[0], connection)
        finally:
            self._library.gnutls_deinit(made[0])

    def _talk(self, session: Any, connection: socket.socket) -> None:
        gnutls = self._library
        self._check(gnutls.gnutls_priority_set_direct(session, PRIORITY.encode(), _ffi.NULL))
        self._check(gnutls.gnutls_credentials_set(session, _CERTIFICATE, self._credentials))
        store, retrieve, remove = self._callbacks
        gnutls.gnutls_db_set_store_function(session, store)
        gnutls.gnutls_db_set_retrieve_function(session, retrieve)
        gnutls.gnutls_db_set_remove_function(session, remove)
        gnutls.gnutls_transport_set_int2(session, connection.fileno(), connection.fileno())
        gnutls.gnutls_handshake_set_timeout(session, 5000)
        with self._shaking_hands:
            while (code := gnutls.gnutls_handshake(session)) in _INTERRUPTED:
                pass
        if code < 0:
            # As gnutls-serv does it.
            gnutls.gnutls_alert_send_appropriate(session, code)
        self._check(code)
        self.handshakes += 1
        stream = _Stream(gnutls, self._check, session)
        try:
            MqttClient(self, stream).serve()
        finally:
            stream.unwrap()


class _Stream:
    """As much of a TLS socket as the broker uses."""

    def __init__(self, gnutls: Any, check: Any, session: Any) -> None:
        self._gnutls, self._check, self._session = gnutls, check, session

    def settimeout(self, value: float, /) -> None:
        self._gnutls.gnutls_record_set_timeout(self._session, int(value * 1000))

    def recv(self, buflen: int, /) -> bytes:
        """Return application data, ``b""`` at the end. Raises TimeoutError, GnuTlsError."""
        buffer = _ffi.new("unsigned char[]", buflen)
        got = _INTERRUPTED[0]
        while got in _INTERRUPTED:
            got = self._gnutls.gnutls_record_recv(self._session, buffer, buflen)
        if got < 0 and got != _TIMED_OUT:
            self._gnutls.gnutls_alert_send_appropriate(self._session, got)
        return bytes(_ffi.buffer(buffer, self._check(got)))

    def sendall(self, data: bytes, /) -> None:
        while data:
            sent = self._gnutls.gnutls_record_send(self._session, data, len(data))
            if sent not in _INTERRUPTED:
                data = data[self._check(sent):]

    def unwrap(self) -> None:
        self._gnutls.gnutls_bye(self._session, _SHUT_WR)
