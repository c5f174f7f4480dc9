"""A worker with an event loop, which beats while the loop turns and not when something blocks it.

worker_asyncio.py [PIECES]      endless without
"""

import asyncio
import sys

from twinwatch import Heartbeat


async def main(pieces: int) -> None:
    """Work, with a task beside it that beats."""
    async with Heartbeat(every=0.5) as heartbeat:
        for _ in range(pieces):
            await asyncio.sleep(0.1)  # the work
            heartbeat.advance()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else sys.maxsize))
