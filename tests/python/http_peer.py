"""HTTP/1 over channels: a handler that says what it was asked, or a client
that checks such answers."""

import argparse
import asyncio

from tcpchan.core.chan import Channel

from peer import protocol_class, report, run


class Http(Channel):
    """Cuts messages with a content-length out of the channel's bytes."""

    buffer = b""

    def data_received(self, data):
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, rest = self.buffer.split(b"\r\n\r\n", 1)
            first, *lines = head.decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.message(first, rest[:length])

    def message(self, first, body):
        raise NotImplementedError

    def send(self, first, body):
        head = f"{first}\r\nhost: test\r\ncontent-length: {len(body)}\r\n\r\n"
        data = head.encode() + body
        for at in range(0, len(data), 65_535):
            self.write_data(data[at : at + 65_535])


class Server(Http):
    def message(self, first, body):
        method, path, _ = first.split(" ")
        self.send("HTTP/1.1 200 OK", f"{method} {path} ".encode() + body)


class Client(Http):
    def ask(self, index, requests, done):
        self.index, self.left, self.done = index, requests, done
        self.next()

    def next(self):
        self.body = f"{self.index}/{self.left} ".encode() * 5000
        self.send("POST /echo HTTP/1.1", self.body)

    def message(self, first, body):
        if first != "HTTP/1.1 200 OK" or body != self.body:
            report("wrong", index=self.index, first=first, length=len(body))
        self.left -= 1
        if self.left:
            return self.next()
        self.close()
        self.done()


def ask(protocol, channels, requests):
    left = channels

    def done():
        nonlocal left
        left -= 1
        if left == 0:
            report("checked", channels=channels)

    for index in range(channels):
        protocol.create_channel().ask(index, requests, done)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--port", type=int)
    parser.add_argument("--channels", type=int, default=20)
    parser.add_argument("--requests", type=int, default=5)
    args = parser.parse_args()

    Peer = protocol_class(args.role)
    channel = Server if args.role == "server" else Client
    if args.role == "client":
        Peer.on_success = lambda self: ask(self, args.channels, args.requests)
    asyncio.run(run(args.role, args.port, lambda: Peer(channel)))


main()
