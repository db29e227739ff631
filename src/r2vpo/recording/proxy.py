"""A proxy that passes everything on as it is, and keeps the exchanges that the store can use.

Bodies pass in the pieces in which they arrive. What is kept is put on a queue when the last piece has been passed on,
so a slow disk delays nobody. Headers are not kept.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from r2vpo.recording.asking import asking, recorded
from r2vpo.recording.lines import is_index
from r2vpo.recording.spool import Exchanged, Spool
from r2vpo.rewards.scores import is_number

FEEDBACK, STATUS = "/r2vpo/feedback", "/r2vpo/status"

MOST_BYTES = 64 * 2**20
"""A longer body passes, and is not kept."""

_KEPT_SECONDS = 4.0  # uvicorn closes idle connections after five
_LONGEST_HEADER = 2**16
_OF_ONE_CONNECTION = frozenset(
    (
        "connection",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


class Proxy:
    """What answers the clients; see the module.

    Args:
        upstream: URL of the server.
        spool: Where exchanges are kept.
        ask: Whether requests are made to ask for token ids and log-probs.
    """

    def __init__(self, upstream: str, spool: Spool, *, ask: bool) -> None:
        self._upstream, self._spool, self._ask = upstream.rstrip("/"), spool, ask
        self._session: aiohttp.ClientSession | None = None
        self.passed = 0

    async def start(self) -> web.Server:
        """Return the server's protocol, to be listened with."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            max_field_size=_LONGEST_HEADER,
            max_line_size=_LONGEST_HEADER,
        )
        # A client that leaves ends its request to the server too.
        return web.Server(
            self._answer,
            handler_cancellation=True,
            auto_decompress=False,
            max_field_size=_LONGEST_HEADER,
            max_line_size=_LONGEST_HEADER,
        )

    async def close(self) -> None:
        """Close the connections to the server."""
        if self._session is not None:
            await self._session.close()

    def status(self) -> dict[str, Any]:
        """Return what has passed and what was kept."""
        spool = self._spool
        kept = {"kept": spool.exchanges, "feedback_kept": spool.feedback}
        return {"passed": self.passed, **kept, "not_kept": dict(spool.lost)}

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == FEEDBACK and request.method == "POST":
            return await self._feedback(request)
        if request.path == STATUS and request.method == "GET":
            return web.json_response(self.status())
        if not request.raw_path.startswith("/"):  # CONNECT names a host, which would become a part of the server's URL
            return web.json_response({"error": "write a path that begins with /"}, status=400)
        self.passed += 1
        keep = request.method == "POST" and recorded(request.path)
        try:
            return await self._pass(request, keep=keep)
        except (asyncio.CancelledError, ConnectionResetError):
            if keep:
                self._spool.lose("the client left")
            raise

    async def _pass(self, request: web.BaseRequest, *, keep: bool) -> web.StreamResponse:
        assert self._session is not None, "started"
        sent = _Body(keep)
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _OF_ONE_CONNECTION
        )
        data: Any = sent.passing(request.content) if request.body_exists else None
        if keep and self._ask and data is not None:
            data = await _asked(request.path, data, sent)
            if isinstance(data, bytes):
                sent = _Body(keep)
                sent.add(data)
                headers["Content-Length"] = str(len(data))
        try:
            upstream = await self._session.request(
                request.method,
                URL(self._upstream + request.raw_path, encoded=True),
                headers=headers,
                data=data,
                allow_redirects=False,
            )
        except aiohttp.ClientError as error:
            if keep:
                self._spool.lose("the server cannot be reached")
            message = f"r2vpo record: {self._upstream} cannot be reached: {error or type(error).__name__}"
            return web.json_response({"error": {"message": message, "type": "bad_gateway", "code": 502}}, status=502)
        async with upstream:
            return await self._pass_back(request, upstream, sent)

    async def _pass_back(
        self, request: web.BaseRequest, upstream: aiohttp.ClientResponse, sent: _Body
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
        for name, value in upstream.headers.items():
            if name.lower() not in _OF_ONE_CONNECTION:
                response.headers.add(name, value)
        if "Content-Length" not in upstream.headers and "chunked" in upstream.headers.get("Transfer-Encoding", ""):
            response.enable_chunked_encoding()
        received = _Body(sent.keep and upstream.status == 200)
        try:
            await response.prepare(request)
            async for piece in received.passing(upstream.content):
                await response.write(piece)
        except aiohttp.ClientPayloadError:  # the server broke off: so do we
            if sent.keep:
                self._spool.lose("the server broke off")
            if request.transport is not None:
                request.transport.abort()
            return response
        await response.write_eof()
        if sent.keep:
            self._keep(request, upstream, sent, received)
        return response

    def _keep(self, request: web.BaseRequest, upstream: aiohttp.ClientResponse, sent: _Body, received: _Body) -> None:
        if upstream.status != 200:
            self._spool.lose("an error of the server")
        elif sent.too_long or received.too_long:
            self._spool.lose("a body that is too long")
        else:
            encodings = [one.headers.get("Content-Encoding", "").lower() for one in (request, upstream)]
            self._spool.put(Exchanged(sent.whole(), received.whole(), (encodings[0], encodings[1]), time.time()))

    async def _feedback(self, request: web.BaseRequest) -> web.Response:
        given = await _object(request)
        response = given.pop("id", None) if given is not None else None
        index = given.pop("index", None) if given is not None else None
        if not given or not isinstance(response, str):
            return web.json_response({"error": 'write {"id": "the id of a response", "thumb": 1}'}, status=400)
        if index is not None and not is_index(index):
            return web.json_response({"error": "index is not the number of an answer, 0 or more"}, status=400)
        wrong = [name for name, value in given.items() if not is_number(value)]
        if wrong:
            return web.json_response({"error": f"{wrong[0]} is not a finite number, true or false"}, status=400)
        if not await asyncio.wrap_future(self._spool.put_feedback(response, given, index=index)):
            return web.json_response({"error": "the disk does not take it now: send it again later"}, status=503)
        return web.json_response({"kept": True})


class _Body:
    """The pieces of a body that passes, up to `MOST_BYTES` of them."""

    def __init__(self, keep: bool) -> None:
        self.keep, self.too_long = keep, False
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        if not self.keep:
            return
        self._size += len(piece)
        if self._size <= MOST_BYTES:
            self._pieces.append(piece)
        else:
            self.too_long = True
            self._pieces.clear()

    async def passing(self, content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
        async for piece in content.iter_any():
            self.add(piece)
            yield piece

    def whole(self) -> bytes:
        return b"".join(self._pieces)


async def _asked(path: str, pieces: AsyncIterator[bytes], passing: _Body) -> bytes | AsyncIterator[bytes]:
    """Return a body that asks for what is missing; one that is too long to be kept passes in its pieces as it is."""
    first = []
    async for piece in pieces:
        first.append(piece)
        if passing.too_long:
            return _joined(first, pieces)
    return asking(path, b"".join(first))


async def _joined(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in first:
        yield piece
    first.clear()
    async for piece in rest:
        yield piece


async def _object(request: web.BaseRequest) -> dict[str, Any] | None:
    try:
        found = json.loads(await request.read())
    except (ValueError, RecursionError, web.HTTPRequestEntityTooLarge):
        return None
    return dict(found) if isinstance(found, Mapping) else None
