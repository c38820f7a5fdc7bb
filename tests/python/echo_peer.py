"""Echoes on the channels that the other side opens; on those that it opens
itself it sends bytes in pieces of every size and checks that they come back."""

import argparse
import asyncio
import random

from tcpchan.core.chan import Channel

from peer import protocol_class, report, run


class Echo(Channel):
    """An echo until it is told what to send and check."""

    sent = None
    close_after = 0

    def start(self, data, rng, done):
        self.sent, self.got, self.done = data, bytearray(), done
        at, first = 0, [1, 2, 65_535]
        while at < len(data):
            piece = first.pop() if first else rng.randint(1, 65_535)
            self.write_data(data[at : at + piece])
            at += piece

    def data_received(self, data):
        if self.sent is None:
            self.write_data(data)
            self.count = getattr(self, "count", 0) + len(data)
            if 0 < self.close_after <= self.count:
                self.close()
            return
        self.got += data
        if len(self.got) >= len(self.sent):
            right = self.got == self.sent
            self.close()
            self.done(right)

    def close(self):
        if not self.is_closed:
            report("closed", channel=self.channel_id)
        super().close()


def check(protocol, count, size):
    """Opens channels and reports once all echoes are right."""
    rng, left = random.Random(size), set()

    def done(index, right):
        if not right:
            report("wrong", index=index)
        left.discard(index)
        if not left:
            report("checked", channels=count)

    for index in range(count):
        left.add(index)
        channel = protocol.create_channel()
        channel.start(rng.randbytes(size), rng, lambda right, i=index: done(i, right))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--port", type=int)
    parser.add_argument("--magic", type=lambda text: int(text, 0))
    parser.add_argument("--open", type=int, default=0)
    parser.add_argument("--size", type=int, default=1 << 20)
    parser.add_argument("--close-after", type=int, default=0)
    parser.add_argument("--patient", action="store_true")
    args = parser.parse_args()

    Echo.close_after = args.close_after
    Peer = protocol_class(args.role, args.patient)
    if args.open:
        Peer.on_success = lambda self: check(self, args.open, args.size)
    asyncio.run(run(args.role, args.port, lambda: Peer(Echo, handshake_magic=args.magic)))


main()
