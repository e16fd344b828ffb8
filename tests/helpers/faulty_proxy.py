"""A proxy between boto3 and S3 that breaks a share of the requests, as networks and servers do.

`cut`: the connection is reset, before or after the server gets the request. `500`, `503`: an error response, whether or
not the server has processed the request. `slow`: the response arrives in small pieces. `short`: its body is truncated.
`wrong`: one bit of the body is flipped, in the request or the response; not in listings and errors, which are XML
without a checksum (TLS protects them, and manifests list the expected files).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

FAULTS = ("cut", "500", "503", "slow", "short", "wrong")

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Message:
    """A request or response: first line, headers in lower case, body."""

    start: str
    headers: dict[str, str]
    body: bytes

    def head(self) -> bytes:
        """First line and headers."""
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass
class FaultyProxy:
    """Breaks a `share` of the requests and counts requests and faults."""

    server: tuple[str, int]
    share: float = 0.2
    seed: int = 0
    port: int = 0
    requests: int = 0
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @contextlib.contextmanager
    def serving(self) -> Iterator[FaultyProxy]:
        """Serve on a free port, in a thread of its own."""
        ready, stop = threading.Event(), asyncio.Event()
        loops: list[asyncio.AbstractEventLoop] = []

        async def serve() -> None:
            server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=2**20)
            self.port = server.sockets[0].getsockname()[1]
            loops.append(asyncio.get_running_loop())
            ready.set()
            await stop.wait()
            server.close()

        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        ready.wait()
        try:
            yield self
        finally:
            loops[0].call_soon_threadsafe(stop.set)
            thread.join()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward the requests of one client connection over one connection to the server."""
        upstream: _Streams | None = None
        try:
            upstream = await asyncio.open_connection(*self.server)
            while await self._exchange((reader, writer), upstream):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # a connection was closed, or the proxy stops
        finally:
            for each in (writer, *(upstream[1:] if upstream else ())):
                each.close()

    async def _exchange(self, client: _Streams, upstream: _Streams) -> bool:
        """Forward one request and its response, perhaps broken; return whether the connection stays open."""
        request = await _request(*client)
        if request is None:
            return False
        self.requests += 1
        fault = self._random.choice(FAULTS) if self._random.random() < self.share else ""
        early = self._random.random() < 0.5
        self.done[fault] += 1
        if fault == "cut" and early:
            return _reset(client[1])
        if fault in ("500", "503") and early:
            return await _error(client[1], fault)
        if fault == "wrong" and request.body and request.start.startswith("PUT"):
            request.body, fault = self._flipped(request.body), ""
        upstream[1].write(request.head() + request.body)
        await upstream[1].drain()
        answer = await _answer(upstream[0], request.start)
        if fault == "cut":
            return _reset(client[1])
        if fault in ("500", "503"):
            return await _error(client[1], fault)
        if fault == "wrong" and answer.body and answer.headers.get("content-type") != "application/xml":
            answer.body = self._flipped(answer.body)
        return await _give(client[1], answer, fault)

    def _flipped(self, data: bytes) -> bytes:
        spot = self._random.randrange(len(data))
        return data[:spot] + bytes([data[spot] ^ 1 << self._random.randrange(8)]) + data[spot + 1 :]


_WRONG_REGION = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the region is wrong
</Message>{}</Error>"""


@dataclass
class RegionalProxy(FaultyProxy):
    """Rejects requests that are not signed for one region, as AWS does. With `reports_region` the response contains the
    right one, as that of AWS."""

    region: str = ""
    reports_region: bool = True

    async def _exchange(self, client: _Streams, upstream: _Streams) -> bool:
        request = await _request(*client)
        if request is None:
            return False
        if f"/{self.region}/s3/aws4_request" in request.headers.get("authorization", ""):
            upstream[1].write(request.head() + request.body)
            await upstream[1].drain()
            return await _give(client[1], await _answer(upstream[0], request.start), "")
        self.done["another region"] += 1
        body = _WRONG_REGION.format(f"<Region>{self.region}</Region>" if self.reports_region else "").encode()
        headers = {"content-type": "application/xml", "content-length": str(len(body))}
        if self.reports_region:
            headers["x-amz-bucket-region"] = self.region
        answer = Message("HTTP/1.1 400 Bad Request", headers, b"" if request.start.startswith("HEAD") else body)
        return await _give(client[1], answer, "")


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.split(":", 1) for line in lines[1:] if line)
    return lines[0], {name.strip().lower(): value.strip() for name, value in pairs}


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Message | None:
    try:
        start, headers = await _head(reader)
    except asyncio.IncompleteReadError:
        return None
    if headers.pop("expect", "") == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return Message(start, headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def _answer(reader: asyncio.StreamReader, request: str) -> Message:
    start, headers = await _head(reader)
    if request.startswith("HEAD") or start.split()[1] in ("204", "304"):
        return Message(start, headers, b"")
    if headers.get("transfer-encoding") != "chunked":
        return Message(start, headers, await reader.readexactly(int(headers.get("content-length", 0))))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    del headers["transfer-encoding"]
    return Message(start, {**headers, "content-length": str(len(body))}, body)


def _reset(writer: asyncio.StreamWriter) -> bool:
    writer.transport.abort()
    return False


async def _error(writer: asyncio.StreamWriter, status: str) -> bool:
    writer.write(f"HTTP/1.1 {status} Broken\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
    await writer.drain()
    return False


async def _give(writer: asyncio.StreamWriter, answer: Message, fault: str) -> bool:
    writer.write(answer.head())
    if fault == "short" and answer.body:
        writer.write(answer.body[: len(answer.body) // 2])
        await writer.drain()
        return False
    pieces = 8 if fault == "slow" else 1
    step = -(-len(answer.body) // pieces) or 1
    for begin in range(0, len(answer.body), step):
        writer.write(answer.body[begin : begin + step])
        await writer.drain()
        if pieces > 1:
            await asyncio.sleep(0.02)
    return answer.headers.get("connection", "").lower() != "close"
