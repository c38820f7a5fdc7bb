"""Run in tests/python:

python3 -m v1 serve HOST:PORT     an echo server
python3 -m v1 connect HOST:PORT   the client that the conformance kit wants
python3 -m v1 check HOST:PORT     a client that checks an echo server, and drains
"""

import argparse
import asyncio
import contextlib
import random
import sys

from .channel import ChannelError
from .codec import ORDERLY, Settings
from .connection import Connection


async def echo(channel):
    with channel, contextlib.suppress(ChannelError):  # the release resets what is open
        while data := await channel.read():
            await channel.write(data)
        channel.finish()


async def echo_all(connection, tasks):
    while channel := await connection.accept():
        tasks.create_task(echo(channel))


async def refuse_all(connection):
    while channel := await connection.accept():
        channel.refuse()


async def serve(host, port, args):
    async def connected(reader, writer):
        connection = Connection(reader, writer, client=False, settings=args.settings)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(connection.run())
            await echo_all(connection, tasks)

    server = await asyncio.start_server(connected, host, port, backlog=1024)
    print("listening on {}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


async def connect(host, port, args):
    """Again and again: opens one channel, says hello on it, and echoes on every channel."""
    while True:
        streams = await asyncio.open_connection(host, port)
        connection = Connection(*streams, client=True, settings=args.settings)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(connection.run())
            tasks.create_task(hello(connection))
            await echo_all(connection, tasks)


async def hello(connection):
    with contextlib.suppress(ChannelError):
        channel = await connection.open()
        await channel.write(b"hello")
        await echo(channel)


async def check_echo(connection, seed, args):
    """Sends `args.bytes` bytes on a new channel, and compares what comes back."""
    data = random.Random(seed).randbytes(args.bytes)
    with await connection.open() as channel:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send(channel, data))
            got = bytearray()
            while piece := await channel.read():
                got += piece
                await asyncio.sleep(args.delay)
    assert got == data, f"channel {channel.number}: {len(got)} bytes, or other ones"


async def send(channel, data):
    await channel.write(data)
    channel.finish()


async def check_reset(connection):
    """A channel that this side resets ends with an error, and no other one notices."""
    with await connection.open() as channel:
        await channel.write(bytes(200_000))
        await channel.read()
        channel.reset(7)
        try:
            while await channel.read():
                pass
        except ChannelError as error:
            assert error.kind == "reset", error
        else:
            raise AssertionError("a clean end behind a reset")


async def check(host, port, args):
    streams = await asyncio.open_connection(host, port)
    connection = Connection(*streams, client=True, settings=args.settings)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(connection.run())
        tasks.create_task(refuse_all(connection))
        async with asyncio.TaskGroup() as checks:
            for seed in range(args.channels):
                checks.create_task(check_echo(connection, seed, args))
            for _ in range(args.resets):
                checks.create_task(check_reset(connection))
        connection.drain()
    assert connection.end.code == ORDERLY, connection.end
    print(f"checked {args.channels} channels and {args.resets} resets")


def main():
    parser = argparse.ArgumentParser("v1", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("command", choices=["serve", "connect", "check"])
    parser.add_argument("address", metavar="HOST:PORT")
    numbers = {"window": 65_536, "max-channels": 256, "budget": 300_000}
    for name, default in (numbers | {"channels": 1, "bytes": 1_000_000, "resets": 0}).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--delay", type=float, default=0, help="seconds after each read")
    args = parser.parse_args()
    args.settings = Settings(args.window, args.max_channels, args.budget)
    host, _, port = args.address.rpartition(":")
    command = {"serve": serve, "connect": connect, "check": check}[args.command]
    try:
        asyncio.run(command(host, int(port), args))
    except OSError as error:
        sys.exit(f"{args.address}: {error}")


main()
