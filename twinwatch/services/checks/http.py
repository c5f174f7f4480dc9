"""One HTTP question: a request, the head of its answer, and no more of its body than is asked for.

It speaks HTTP/1.1 and closes the connection afterwards. A redirect is a status like any other and is not
followed. Certificates are verified.
"""

import asyncio
import re
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from twinwatch.core.checks import Probe
from twinwatch.core.probing import one_line
from twinwatch.services.checks.reach import READ_MAX, Failed, Names, Stream, connect, explain, open_stream

HEAD_MAX = 64 << 10
DRAIN_S = 0.25  # for a body that nobody wants: who is cut off in the middle of it complains in its log

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?:[ \r\n]|$)")
_HAVE_BODIES = frozenset({"POST", "PUT", "PATCH"})


async def ask(probe: Probe, names: Names) -> str:
    """Why the answer is bad; '' if it is good.

    Raises:
        Unable: this process could not ask.
    """
    url = urlsplit(probe.target)
    is_tls = url.scheme == "https"
    host, port = url.hostname or "", url.port or (443 if is_tls else 80)
    try:
        link = await connect(names, host, port, probe.socket)
        with await open_stream(link, host if is_tls else "") as stream:
            await stream.send(request(probe, url))
            await _judge(probe, stream)
    except Failed as failed:
        return str(failed)
    except OSError as error:  # any errno: put into words
        return explain(error)
    return ""


def request(probe: Probe, url: SplitResult) -> bytes:
    own = {"Host": url.netloc, "User-Agent": "twinwatch", "Accept": "*/*"}
    if probe.method in _HAVE_BODIES:
        own["Content-Length"] = "0"
    given = {name.lower() for name, _ in probe.headers}
    headers = [(name, value) for name, value in own.items() if name.lower() not in given]
    headers += [*probe.headers, ("Connection", "close")]
    path = f"{url.path or '/'}{f'?{url.query}' if url.query else ''}"
    lines = [f"{probe.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _judge(probe: Probe, stream: Stream) -> None:
    status, headers = await _read_answer(stream.reader)
    if not any(low <= status <= high for low, high in probe.statuses):
        raise Failed(f"status {status}")
    if probe.method == "HEAD" or status in (204, 304):
        body = b""
    elif probe.body:
        body = await _read_body(stream.reader, headers)
    else:
        with suppress(TimeoutError, Failed, OSError):  # any errno: the status was good
            async with asyncio.timeout(DRAIN_S):
                await _read_body(stream.reader, headers)
        return
    if probe.body and not re.search(probe.body, body.decode(errors="replace")):
        raise Failed(f"the body does not match: {one_line(body[:200].decode(errors='replace'))}")


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers of the final answer."""
    room = HEAD_MAX
    while True:
        line = await _read_line(reader, room)
        match = _STATUS.match(line)
        if match is None:
            raise Failed("it does not speak HTTP" if line else "it closed the connection without an answer")
        headers, room = await _read_headers(reader, room - len(line))
        status = int(match[1])
        if status >= 200 or status == 101:
            return status, headers


async def _read_headers(reader: asyncio.StreamReader, room: int) -> tuple[dict[str, str], int]:
    """The headers, and how much room is left for others."""
    headers: dict[str, str] = {}
    while line := await _read_line(reader, room):
        room -= len(line)
        if not line.strip():
            return headers, room
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    raise Failed("its answer breaks off")


async def _read_line(reader: asyncio.StreamReader, room: int) -> bytes:
    """A line with its end; empty at the end of all."""
    try:
        line = await reader.readline()
    except ValueError:
        raise Failed("the head of its answer is too long") from None
    if len(line) > room:
        raise Failed("the head of its answer is too long")
    return line


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """Its first 64 KiB."""
    if headers.get("transfer-encoding", "").lower().endswith("chunked"):
        return await _read_chunks(reader)
    length = headers.get("content-length", "")
    if not length:
        return await _read_up_to(reader, READ_MAX)
    if not length.isascii() or not length.isdigit():
        raise Failed("it does not speak HTTP: no number as Content-Length")
    wanted = min(int(length[:19]), READ_MAX)
    body = await _read_up_to(reader, wanted)
    if len(body) < wanted:
        raise Failed("its answer breaks off")
    return body


async def _read_up_to(reader: asyncio.StreamReader, count: int) -> bytes:
    body = b""
    while len(body) < count and (piece := await reader.read(count - len(body))):
        body += piece
    return body


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while len(body) < READ_MAX:
        line = await _read_line(reader, HEAD_MAX)
        try:
            size = int(line.partition(b";")[0].strip() or b"-", 16)
        except ValueError:
            raise Failed("it does not speak HTTP: no size of a chunk") from None
        if size <= 0:
            break
        wanted = min(size, READ_MAX - len(body))
        piece = await _read_up_to(reader, wanted)
        body += piece
        if len(piece) < wanted:
            raise Failed("its answer breaks off")
        if wanted == size:
            await _read_line(reader, HEAD_MAX)
    return body
