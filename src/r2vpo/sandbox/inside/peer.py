"""Two processes that ask one another over a socket; while one waits for an answer, it answers what it is asked."""

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
    """One side.

    Args:
        channel: number of the socket's file descriptor.
        act: does what the other side asks for; what it raises is sent too.
        tell: turns an exception into JSON's types.
    """

    def __init__(self, channel: int, act: Callable[[Any], Any], tell: Callable[[BaseException], Any]) -> None:
        self._socket = socket.socket(fileno=channel)
        self._act, self._tell = act, tell
        self.broken = False

    def ask(self, request: Any) -> tuple[bool, Any]:
        """Ask the other side.

        Args:
            request: JSON's types.

        Returns:
            Whether it has a result, and the result or what it raised.

        Raises:
            Gone: it has ended, or sent what is no message; from then on `broken` is true.
        """
        self._send(["ask", request])
        while True:
            kind, body = self._receive()
            if kind != "ask":
                return kind == "result", body
            self._send(self._reply(body))

    def serve(self) -> None:
        """Answer until the other side has ended."""
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
        except BaseException as error:  # a program may raise anything, and its tests look at it
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
