"""Send one HTTP request and receive its whole reply, with one deadline and a limit on its size.

aiohttp implements the protocol. Time-outs of HTTP libraries usually apply to a single read, so a server that sends an
occasional byte could block a client forever. Here asyncio cancels the exchange as a whole, from the lookup of the
server's name to the last byte of the reply.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import logging
import os
import socket
import threading
import weakref
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from r2vpo.http_terms import BEGINNING, Reply, Retry

logger = logging.getLogger(__name__)

_BEGINNING_SECONDS = 1.0
_POLL_SECONDS = 0.1
# Some servers close idle connections after five seconds.
_KEPT_SECONDS = 4.0


def exchange(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None,
    seconds: float,
    largest: int,
    stopped: threading.Event,
) -> Reply | None:
    """Send one request and wait for the whole reply. Redirects are not followed.

    The proxies of the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`) are used.

    Args:
        method: ``GET`` or ``POST``.
        url: the URL; `url_problem` must accept it.
        headers: sent unchanged.
        body: the request's body; None for no body.
        seconds: time limit from the beginning to the last byte of the reply.
        largest: most bytes of a reply's body, both as received and unpacked.
        stopped: once it is set, the exchange ends within a tenth of a second.

    Returns:
        The reply; None if `stopped` was set before there was one.

    Raises:
        Retry: there is no complete reply. It has no chained cause, which could repeat what the server said.
    """
    work = _whole_reply(method, url, headers=headers, body=body, seconds=seconds, largest=largest)
    running = asyncio.run_coroutine_threadsafe(work, _loop(os.getpid()))
    try:
        # This thread waits in short pieces, so that Ctrl-C and `stopped` do not wait for the server.
        while not stopped.is_set():
            if concurrent.futures.wait([running], timeout=_POLL_SECONDS).done:
                return running.result()
        return None
    finally:
        running.cancel()


class _Loop(asyncio.SelectorEventLoop):
    """Event loop that resolves names in daemon threads: an exiting process waits for other threads, which may hang."""

    async def getaddrinfo(self, host: Any, port: Any, **options: int) -> Any:
        found: concurrent.futures.Future[Any] = concurrent.futures.Future()
        found.set_running_or_notify_cancel()

        def look_up() -> None:
            try:
                found.set_result(socket.getaddrinfo(host, port, **options))
            except Exception as error:  # raised where it is awaited
                found.set_exception(error)

        threading.Thread(target=look_up, daemon=True).start()
        return await asyncio.wrap_future(found)


@functools.cache
def _loop(process: int) -> asyncio.AbstractEventLoop:
    """Return the loop of this process, in its own thread; a forked process does not inherit its parent's thread."""
    loop = _Loop()
    loop.set_exception_handler(_told)
    threading.Thread(target=loop.run_forever, name=f"http-{process}", daemon=True).start()
    return loop


def _told(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log only the type of an error that no one awaited: its content may hold headers, and so a password."""
    logger.debug("an error in the loop of HTTP requests: %s", type(context.get("exception")).__name__)


@functools.cache
def _session(loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
    """Return the session shared by all exchanges of a loop: connections are kept for a moment, and no cookies."""
    session = aiohttp.ClientSession(
        connector=_Connector(limit=0, keepalive_timeout=_KEPT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(),
        auto_decompress=False,
    )
    process = os.getpid()

    def close() -> None:
        if os.getpid() == process:
            asyncio.run_coroutine_threadsafe(session.close(), loop).result(timeout=1.0)

    atexit.register(close)
    return session


class _Connector(aiohttp.TCPConnector):
    """Connector that reuses a connection only if no data followed its last reply; it would be taken for the next."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: weakref.WeakSet[Any] = weakref.WeakSet()

    async def connect(self, *arguments: Any, **named: Any) -> Any:
        while True:
            connection = await super().connect(*arguments, **named)
            try:
                # Between the two, the loop reads what has arrived meanwhile.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            except BaseException:  # the exchange is cancelled, and nothing else owns the connection
                connection.close()
                raise
            protocol = connection.protocol
            if protocol is not None and (protocol not in self._used or not protocol.should_close):
                self._used.add(protocol)
                return connection
            connection.close()


async def _whole_reply(
    method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, seconds: float, largest: int
) -> Reply:
    try:
        async with asyncio.timeout(seconds):
            return await _reply(method, url, headers, body, largest)
    except TimeoutError:
        reason = f"ReadTimeout (no whole reply in {seconds:g} s)"
    except _Unusable as error:
        reason = str(error)
    except aiohttp.ClientHttpProxyError as error:
        reason = f"status {error.status} of the proxy"
    except aiohttp.ClientResponseError as error:
        reason = f"a reply that is not HTTP ({error.message})"
    except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, ValueError) as error:
        kind = "ConnectError" if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
        reason = f"{kind} ({error})" if str(error) else kind
    raise Retry(reason)


async def _reply(method: str, url: str, headers: Mapping[str, str], body: bytes | None, largest: int) -> Reply:
    proxy, login = _proxy(url)
    sent = {"Accept-Encoding": "identity", **headers}
    options: dict[str, Any] = {"data": body, "headers": sent, "allow_redirects": False, "proxy": proxy}
    if url.startswith("https:"):
        options["proxy_headers"] = login  # for the tunnel; its content is for the server
    else:
        sent |= login
    async with _session(asyncio.get_running_loop()).request(method, URL(url), **options) as response:
        retry_after = response.headers.get("Retry-After")
        encoding = ", ".join(response.headers.getall("Content-Encoding", ())).strip().lower()
        if response.status != 200:
            content = await _beginning(response.content)
            return Reply(response.status, retry_after, b"" if encoding else content)
        found = bytearray()
        async for piece in response.content.iter_any():
            found += piece
            if len(found) > largest:
                raise _Unusable(f"a reply of more than {largest} bytes")
        return Reply(200, retry_after, _unpacked(bytes(found), encoding, largest))


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """Read the beginning of a body; the status is known, so a broken or endless body does not matter."""
    found = bytearray()
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_BEGINNING_SECONDS):
            async for piece in content.iter_any():
                found += piece
                if len(found) >= BEGINNING:
                    break
    return bytes(found[:BEGINNING])


def _unpacked(content: bytes, encoding: str, largest: int) -> bytes:
    """Unpack a body: no encoding is requested, but the two usual ones are accepted if a server uses them."""
    if encoding in ("", "identity") or not content:
        return content
    if encoding not in ("gzip", "deflate"):
        raise _Unusable(f"a reply in the encoding {encoding!r}, which was not asked for")
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        found = unpacker.decompress(content, largest + 1)
    except zlib.error as error:
        raise _Unusable(f"a reply that cannot be unpacked ({error})") from error
    if len(found) > largest:
        raise _Unusable(f"a reply of more than {largest} bytes, unpacked")
    if not unpacker.eof:
        raise _Unusable("a packed reply that breaks off")
    return found


def _proxy(url: str) -> tuple[URL | None, dict[str, str]]:
    """Return the environment's proxy, and the header with its password.

    The password is neither in its address, which errors repeat, nor in aiohttp's key of a connection.
    """
    parts = urlsplit(url)
    address = getproxies().get(parts.scheme)
    if not address or proxy_bypass(parts.hostname or ""):
        return None, {}
    try:
        proxy = URL(address if "://" in address else f"http://{address}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in ("http", "https") or not proxy.host:
        raise _Unusable(f"the environment's {parts.scheme}_proxy is not http://host:port")
    login = aiohttp.encode_basic_auth(proxy.user, proxy.password or "") if proxy.user else None
    return proxy.with_user(None), {"Proxy-Authorization": login} if login else {}


class _Unusable(Exception):
    """A reply that is not accepted, and why."""
