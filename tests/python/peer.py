"""What the peers share: reports as JSON lines, and a connection to listen or dial."""

import asyncio
import json

from tcpchan.aio import TCPChanClientProtocol, TCPChanServerProtocol


def report(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def protocol_class(role, patient=False):
    """A protocol that reports what happens to it. The package calls
    handshake_failed with one argument too many, so that it raises and asyncio
    drops the connection; a patient one takes any and stays."""
    base = {"server": TCPChanServerProtocol, "client": TCPChanClientProtocol}[role]

    class Peer(base):
        on_success = None

        def handshake_success(self):
            report("handshake")
            if self.on_success:
                self.on_success()

        def connection_lost(self, exc):
            report("lost", error=repr(exc))

    if patient:
        Peer.handshake_failed = lambda self, *args, **kwargs: report("handshake failed")
    return Peer


async def run(role, port, factory):
    """Serves one port until killed, or dials one."""
    loop = asyncio.get_running_loop()
    if role == "server":
        server = await loop.create_server(factory, "127.0.0.1", 0)
        report("listening", port=server.sockets[0].getsockname()[1])
        await server.serve_forever()
    await loop.create_connection(factory, "127.0.0.1", port)
    await asyncio.Event().wait()
