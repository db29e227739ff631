"""One HTTP request and its whole reply, under one deadline and within a bound on its size.

aiohttp speaks the protocol. Time-outs of HTTP libraries mostly hold for a single read, and a server that sends a byte
now and then is waited for without end. Here asyncio cancels the exchange as a whole, from looking up the server's name
to the last byte of the reply.
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
# Servers close idle connections after five seconds, some of them.
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
        url: where to; one that `url_problem` finds nothing wrong with.
        headers: sent as they are.
        body: the request's body; None is none.
        seconds: from the beginning to the last byte of the reply.
        largest: bytes of a reply's body, as it comes and unpacked.
        stopped: once it is set, the exchange ends within a tenth of a second.

    Returns:
        The reply; None if `stopped` was set before there was one.

    Raises:
        Retry: there is no whole reply. It has no cause that could repeat what the server said.
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
    """Looks names up in daemon threads: a process that ends waits for the loop's own ones, and a resolver may hang."""

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
    """The loop of this process, in its own thread; a forked process has no thread of its parent."""
    loop = _Loop()
    loop.set_exception_handler(_told)
    threading.Thread(target=loop.run_forever, name=f"http-{process}", daemon=True).start()
    return loop


def _told(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Say of an error that nobody waited for what kind it is: what it is about may hold headers, and so a password."""
    logger.debug("an error in the loop of HTTP requests: %s", type(context.get("exception")).__name__)


@functools.cache
def _session(loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
    """What all exchanges of a loop share: connections that are kept for a moment, and no cookies."""
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
    """Uses a kept connection again only if nothing came behind the last reply: it would be taken for the next one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: weakref.WeakSet[Any] = weakref.WeakSet()

    async def connect(self, *arguments: Any, **named: Any) -> Any:
        while True:
            connection = await super().connect(*arguments, **named)
            try:
                # The loop reads what has arrived meanwhile between the two.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            except BaseException:  # the exchange is cancelled, and nobody else has the connection
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
        reason = f"a reply that is no HTTP ({error.message})"
    except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, ValueError) as error:
        kind = "ConnectError" if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
        reason = f"{kind} ({error})" if str(error) else kind
    raise Retry(reason)


async def _reply(method: str, url: str, headers: Mapping[str, str], body: bytes | None, largest: int) -> Reply:
    proxy, login = _proxy(url)
    sent = {"Accept-Encoding": "identity", **headers}
    options: dict[str, Any] = {"data": body, "headers": sent, "allow_redirects": False, "proxy": proxy}
    if url.startswith("https:"):
        options["proxy_headers"] = login  # for the tunnel; what goes through it is the server's
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
    """What comes first of a body; the status is known, so a body that breaks off or does not end changes nothing."""
    found = bytearray()
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_BEGINNING_SECONDS):
            async for piece in content.iter_any():
                found += piece
                if len(found) >= BEGINNING:
                    break
    return bytes(found[:BEGINNING])


def _unpacked(content: bytes, encoding: str, largest: int) -> bytes:
    """No encoding is asked for; servers that pack all the same are read if it is in one of the usual two ways."""
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
    """The environment's proxy, and the header with its password.

    Neither its address, which errors repeat, nor what aiohttp calls a connection by holds the password.
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
    """A reply that is not taken, and why."""
