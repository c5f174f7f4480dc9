"""A worker that serves HTTP and is as well as a file says: `GENERATION MOOD`, for that generation and older ones.

Arguments: where to listen (a port, or the path of a Unix socket), and the file. Moods: `good`; `bad` (status 500);
`hang` (it accepts and never answers); `mute` (it closes without an answer). Each request is a line `GENERATION PATH`
in FILE.asked, written before it is answered.
"""

import os
import socket
import sys
import threading

where, file = sys.argv[1:]
generation = int(os.environ["TWINWATCH_GENERATION"])


def mood() -> str:
    with open(file) as text:
        until, said = text.read().split()
    return said if generation <= int(until) else "good"


def serve(link: socket.socket) -> None:
    with link:
        request = link.recv(65536).split()
        with open(f"{file}.asked", "a") as asked:
            asked.write(f"{generation} {request[1].decode() if len(request) > 1 else '-'}\n")
        match mood():
            case "good":
                link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            case "bad":
                link.sendall(b"HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n")
            case "hang":
                link.recv(1)


if where.startswith("/"):
    if os.path.exists(where):
        os.unlink(where)
    server = socket.socket(socket.AF_UNIX)
    server.bind(where)
else:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", int(where)))
server.listen(64)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
