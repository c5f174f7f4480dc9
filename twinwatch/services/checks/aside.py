"""Calls that may hang in the kernel or in a library, each in a thread of its own that nobody waits for.

A thread that hangs keeps neither the loop nor the end of the process waiting.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def aside(call: Callable[[], T]) -> "asyncio.Future[T]":
    """The result of `call`, or its OSError.

    Raises:
        RuntimeError: no thread can be started.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: OSError | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        failure: OSError | None = OSError("it crashed")
        try:
            result, failure = call(), None
        except OSError as error:  # any errno: it is the caller's
            failure = error
        finally:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, daemon=True).start()
    return future
