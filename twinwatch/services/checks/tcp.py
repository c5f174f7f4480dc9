"""One TCP (or Unix socket) question: does it accept, and does it say what it should say."""

import re

from twinwatch.core.checks import Probe
from twinwatch.core.probing import one_line
from twinwatch.services.checks.reach import READ_MAX, Names, Stream, connect, explain, open_stream


async def ask(probe: Probe, names: Names) -> str:
    """Why the answer is bad; '' if it is good.

    Raises:
        Unable: this process could not ask.
    """
    host, _, port = probe.target.rpartition(":")
    try:
        link = await connect(names, host.strip("[]"), int(port or 0), probe.socket)
        with await open_stream(link) as stream:
            if probe.send:
                await stream.send(probe.send.encode())
            return await _expect(probe, stream) if probe.body else ""
    except OSError as error:  # any errno: put into words
        return explain(error)


async def _expect(probe: Probe, stream: Stream) -> str:
    """What comes is looked at as it comes: many servers go on to wait for the next question."""
    said = b""
    while len(said) < READ_MAX and (piece := await stream.reader.read(READ_MAX - len(said))):
        said += piece
        if re.search(probe.body, said.decode(errors="replace")):
            return ""
    if not said:
        return "it closed the connection without an answer"
    return f"the answer does not match: {one_line(said[:200].decode(errors='replace'))}"
