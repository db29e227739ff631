"""Requests between two processes over a socket; a process that waits for an answer also answers requests."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from typing import Any

from .values import Gone

_LENGTH = struct.Struct("!I")
_BYTES = 64 << 20


class Peer:
    """One side of the connection.

    Args:
        channel: file descriptor of the socket.
        act: function that does what the other side requests; an exception is also sent back.
        tell: function that turns an exception into JSON types.
    """

    def __init__(self, channel: int, act: Callable[[Any], Any], tell: Callable[[BaseException], Any]) -> None:
        self._socket = socket.socket(fileno=channel)
        self._act, self._tell = act, tell
        self.broken = False

    def ask(self, request: Any) -> tuple[bool, Any]:
        """Send a request to the other side and wait for its result.

        Returns:
            Whether there is a result, and the result or the exception.

        Raises:
            Gone: the other side has ended, or sent something that is not a message; from then on `broken` is true.
        """
        self._send(["ask", request])
        while True:
            kind, body = self._receive()
            if kind != "ask":
                return kind == "result", body
            self._send(self._reply(body))

    def serve(self) -> None:
        """Answer requests until the other side has ended."""
        while True:
            try:
                _, body = self._receive()
            except Gone:
                return
            self._send(self._reply(body))

    def _reply(self, body: Any) -> list[Any]:
        try:
            return ["result", self._act(body)]
        except Gone:
            raise
        except BaseException as error:  # a program may raise anything, and its tests may check it
            return ["raise", self._tell(error)]

    def _send(self, message: Any) -> None:
        data = json.dumps(message).encode()
        try:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
        except OSError:
            raise self._gone("nobody listens") from None

    def _receive(self) -> tuple[str, Any]:
        size = _LENGTH.unpack(self._exactly(_LENGTH.size))[0]
        if size > _BYTES:
            raise self._gone("a message is too long")
        try:
            kind, body = json.loads(self._exactly(size))
        except (TypeError, ValueError, RecursionError) as error:
            raise self._gone(f"no message: {error}") from None
        return kind, body

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                part = self._socket.recv(min(size - len(data), 1 << 20))
            except OSError:
                part = b""
            if not part:
                raise self._gone("it has ended")
            data += part
        return bytes(data)

    def _gone(self, why: str) -> Gone:
        self.broken = True
        return Gone(why)
