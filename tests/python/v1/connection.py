"""A connection: W2, W9, W13, W16 to W18."""

import asyncio
import contextlib
import time
from collections import deque
from typing import NamedTuple

from .channel import Changes, Channel, ChannelError
from .codec import (
    FLOW, HANDSHAKE, LIMIT, MAX_NUMBER, ORDERLY, PROTOCOL,
    FrameReader, Op, OtherVersion, Settings, Violation, encode,
)  # fmt: skip
from .credit import Bucket, Ledger, return_step

MAGIC = 0xFEEDBACC  # W2.2
ROUND = 64 * 1024  # bytes that are made at once, so that no backlog grows
HANDSHAKE_S, KEEP_ALIVE_S, DEAD_S, STALL_S = 10, 15, 20, 30  # W18.1
LINGER_S, LINGER_BYTES = 1, 256 * 1024
ORDERLY_SILENCE_S, ORDERLY_S = 20, 600


class End(NamedTuple):
    """Why a connection is over."""

    text: str
    code: int | None = None  # of a GOAWAY, of this side or the peer
    says_goaway: bool = False
    lingers: bool = False


class Connection:
    """`run` does the work until the connection is over."""

    def __init__(self, reader, writer, client, settings=Settings(), magic=MAGIC):
        self.frames, self.writer = FrameReader(reader), writer
        self.client, self.settings, self.magic = client, settings, magic
        self.peer, self.connected, self.end = Settings(), False, None  # W3.5
        self.changed, self.wake = Changes(), asyncio.Event()

        self.channels = {}
        self.arrived, self.given = deque(), 0
        self.opened, self.may_open = 0, self.peer.channels  # W16.1
        self.taken, self.allowed, self.released = 0, settings.channels, 0
        self.ready, self.blocked = {}, set()  # channels: with bytes to send, and for credit
        self.owed, self.lent, self.held = Ledger(), Ledger(), 0

        self.pinged = self.ponged = 0  # the tokens of PINGs are 1, 2, 3 (W9.1)
        self.drain_token, self.drained = None, False  # this side drains
        self.draining = False  # the peer does
        self.pings, self.no_ops = Bucket("PINGs", 1_000), Bucket("no-op frames", 10_000)

        self.greeted = False
        if client:
            self._greet()

    # what the application calls

    async def open(self):
        """A new channel, as soon as the peer allows one more (W13.2)."""
        await self.changed.until(
            lambda: self.end or self.draining or self.greeted and self.opened < self.may_open
        )
        number = 2 * self.opened + (1 if self.client else 2)
        if self.end or self.draining or number > MAX_NUMBER:  # W9.4, W13.5
            raise ChannelError("refused", 0, "the connection takes no more channels")
        self.opened += 1
        self.send(Op.OPEN, number)
        channel = self.channels[number] = Channel(self, number, mine=True)
        return channel

    async def accept(self):
        """The peer's next channel; None when the connection is over."""
        await self.changed.until(lambda: self.end or self.arrived)
        if self.end:  # W17.4: what waits is never given
            return None
        channel = self.arrived.popleft()
        self.given = channel.number
        return channel

    def drain(self):
        """Asks for no more channels, and closes when there are none (W9.3, W9.6)."""
        self.send(Op.DRAIN)
        self.drain_token = self._ping()

    def close(self, text=""):
        self._over(End(text, ORDERLY, says_goaway=True, lingers=True))

    async def run(self):
        try:
            async with asyncio.TaskGroup() as group:
                work = self._read(), self._write(), self._keep_alive()
                tasks = [group.create_task(one) for one in work]
                await self.changed.until(lambda: self.end)
                for task in tasks:
                    task.cancel()
        finally:
            end = self.end or End("cancelled")
            self._over(end)
            for channel in list(self.channels.values()):
                channel.fail(ChannelError("lost", end.code or 0, end.text))
            await self._say_the_end(end)
            self.writer.transport.abort()

    # what channels call

    def send(self, op, *args):
        if not self.end:
            self.writer.write(encode(op, *args))
            self.wake.set()

    def is_ready(self, channel):
        self.ready[channel] = None
        self.wake.set()

    def is_paid(self, channel):
        """Credit came: of this channel, and maybe some of the budget."""
        if self.owed.total < self.peer.budget:
            self.ready.update(dict.fromkeys(self.blocked))
            self.blocked.clear()
        self.blocked.discard(channel)
        self.is_ready(channel)

    def is_held(self, more):
        self.held += more
        self.wake.set()

    def forget(self, channel):
        if self.channels.pop(channel.number, None) and not channel.mine:
            self.released += 1  # W16.2
        self.blocked.discard(channel)
        self._close_if_drained()
        self.wake.set()

    # reading; it never waits for writing (W18.7)

    async def _read(self):
        try:
            await self._handshake()
            while (frame := await self.frames.next()) and not self.end:
                await self._on_frame(*frame)
            self._over(End("the stream ended"))  # W17.6
        except Violation as violation:
            code = violation.code if self.connected else HANDSHAKE  # W2.7
            self._over(End(str(violation), code, says_goaway=True, lingers=True))
        except EOFError as error:  # W17.7
            self._over(End(str(error), PROTOCOL, says_goaway=self.connected))
        except OSError as error:
            self._over(End(str(error)))

    async def _handshake(self):
        try:
            op, args = await self._next()
        except OtherVersion as violation:  # W8.2, W8.3
            if not self.client:
                self.send(Op.HELLO_REPLY, self.magic)
            return self._over(End(str(violation), lingers=True))
        if op != (Op.HELLO_REPLY if self.client else Op.HELLO):
            raise Violation(HANDSHAKE, f"op {op:#04x} in place of the hello (W2.1)")
        if not self.client:
            self._greet()  # W2.4
        if args != (self.magic,):
            raise Violation(HANDSHAKE, f"magic {args[0]:#x}, not {self.magic:#x} (W2.2)")
        op, args = await self._next()
        if op != Op.DATA or args[0]:
            raise Violation(HANDSHAKE, f"op {op:#04x} in place of the settings (W3.1)")
        self.peer = Settings.decode(await self.frames.take(args[1]))
        self.may_open = max(self.may_open, self.peer.channels)
        for channel in self.channels.values():  # W10.1
            self.owed.raise_limit(channel.out, self.peer.window)
            self.is_paid(channel)
        self.connected = True
        self.changed.set()

    async def _next(self):
        if frame := await self.frames.next():
            return frame
        raise EOFError("the stream ended in the handshake")

    async def _on_frame(self, op, args):
        if op >= 0x80:  # W4.1
            self.no_ops.take()
            await self.frames.take(args[0])
        elif op in (Op.HELLO, Op.HELLO_REPLY) or op == Op.DATA and args[0] == 0:
            raise Violation(PROTOCOL, "a second hello, or second settings (W2.1, W3.1)")
        elif op in (Op.WINDOW, Op.STOP):
            if channel := self._find(args[0]):  # W14.4
                (channel.on_window if op == Op.WINDOW else channel.on_stop)(*args[1:])
        elif op in (Op.DATA, Op.FIN, Op.RESET):
            channel = self._find(args[0])
            if not channel:
                raise Violation(PROTOCOL, f"{Op(op).name} on a closed channel (W14.1)")
            if op == Op.DATA:
                channel.on_data_header(args[1])
                channel.on_data(await self.frames.take(args[1]))
            else:
                (channel.on_fin if op == Op.FIN else channel.on_reset)(*args[1:])
        else:
            getattr(self, f"_on_{Op(op).name.lower()}")(*args)

    def _is_mine(self, number):
        return (number % 2 == 1) == self.client  # W13.1

    def _find(self, number):
        """The channel of a frame; None if it is closed and was released."""
        if (number + 1) // 2 > (self.opened if self._is_mine(number) else self.taken):
            raise Violation(PROTOCOL, f"channel {number} was never opened (W13.4)")
        return self.channels.get(number)

    def _on_open(self, number):
        index = (number + 1) // 2
        if self._is_mine(number) or index != self.taken + 1 or number > MAX_NUMBER:
            raise Violation(PROTOCOL, f"OPEN of channel {number} (W13.1)")
        if index > self.allowed:
            raise Violation(LIMIT, f"OPEN {number}, {self.allowed} were allowed (W13.2)")
        if self.drained:
            raise Violation(PROTOCOL, f"OPEN {number} behind the drain (W9.4)")
        self.taken = index
        channel = self.channels[number] = Channel(self, number, mine=False)
        self.arrived.append(channel)
        self.changed.set()

    def _on_ping(self, token):
        self.pings.take()
        self.send(Op.PONG, token)

    def _on_pong(self, token):
        if not self.ponged < token <= self.pinged:
            return self.no_ops.take()
        self.ponged = token
        if self.drain_token and token >= self.drain_token:  # W9.4
            self.drained = True
            self._close_if_drained()

    def _on_drain(self):
        if self.draining:
            self.no_ops.take()
        self.draining = True
        self.changed.set()

    def _on_max_channels(self, count):
        if not self.may_open < count <= self.peer.channels + self.opened:  # W16.4
            self.no_ops.take()
        self.may_open = max(self.may_open, count)
        self.changed.set()

    def _on_return(self, total):
        if not self.owed.returned + return_step(self.peer) <= total <= self.owed.said:
            raise Violation(FLOW, f"RETURN from {self.owed.returned} to {total} (W12.4)")
        self.owed.pay_back(total)
        self.ready.update(dict.fromkeys(self.blocked))
        self.blocked.clear()
        self.wake.set()

    def _on_goaway(self, last, code, text):
        for channel in list(self.channels.values()):
            if channel.mine and channel.number > last and not channel.used:  # W17.4
                channel.fail(ChannelError("refused", code, text))
        self._over(End(f"the peer's GOAWAY: {text!r}", code))

    # writing

    async def _write(self):
        try:
            while True:
                await self.wake.wait()
                self.wake.clear()
                await self._drain_transport()
                if self.greeted:
                    self._make_frames()
        except OSError:
            pass  # the reader sees it, too

    async def _drain_transport(self):
        left = self.writer.transport.get_write_buffer_size()
        try:
            async with asyncio.timeout(STALL_S):
                return await self.writer.drain()
        except TimeoutError:
            if self.writer.transport.get_write_buffer_size() < left:
                return self.wake.set()
        text = f"the transport took nothing for {STALL_S} s (W18.1)"
        self._over(End(text, LIMIT, says_goaway=True, lingers=True))

    def _make_frames(self):
        count, quarter = self.settings.channels + self.released, self.settings.channels // 4
        if count - self.allowed >= (quarter if self.allowed - self.taken >= quarter else 1):
            self.allowed = count  # W16.3
            self.send(Op.MAX_CHANNELS, count)
        total = self.lent.said - self.held
        if total - self.lent.returned >= return_step(self.settings):  # W12.5
            self.lent.pay_back(total)
            self.send(Op.RETURN, total)
        made = 0
        while self.ready and made < ROUND:
            channel = next(iter(self.ready))
            del self.ready[channel]
            made += channel.send_some()

    def _greet(self):
        self.greeted = True
        self.writer.write(self._greeting())
        self.changed.set()

    def _greeting(self):
        hello = encode(Op.HELLO if self.client else Op.HELLO_REPLY, self.magic)
        return hello + encode(Op.DATA, 0, self.settings.encode())

    def _ping(self):
        self.pinged += 1
        self.send(Op.PING, self.pinged)
        return self.pinged

    async def _keep_alive(self):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HANDSHAKE_S):
                await self.changed.until(lambda: self.connected)
        if not self.connected:
            return self._over(End(f"no settings within {HANDSHAKE_S} s"))
        while True:
            now = time.monotonic()
            if now - self.frames.heard < KEEP_ALIVE_S:
                await asyncio.sleep(self.frames.heard + KEEP_ALIVE_S - now)
                continue
            self._ping()
            await asyncio.sleep(DEAD_S)
            if self.frames.heard < now:
                return self._over(End(f"the peer was silent for {KEEP_ALIVE_S + DEAD_S} s"))

    # the end

    def _over(self, end):
        self.end = self.end or end
        self.changed.set()

    def _close_if_drained(self):
        if self.drained and not self.channels:
            self.close("drained")

    async def _say_the_end(self, end):
        """W17.1: a GOAWAY, then what comes is dropped until the peer closes."""
        if end.says_goaway:
            if not self.greeted:
                self.writer.write(self._greeting())  # W2.3
            self.writer.write(encode(Op.GOAWAY, self.given, end.code, end.text))
        if not end.lingers:
            return
        left, all_s, silence_s = LINGER_BYTES, LINGER_S, LINGER_S
        if end.code == ORDERLY:
            left, all_s, silence_s = float("inf"), ORDERLY_S, ORDERLY_SILENCE_S
        with contextlib.suppress(TimeoutError, OSError):
            self.writer.write_eof()
            async with asyncio.timeout(all_s):
                while left > 0:
                    async with asyncio.timeout(silence_s):
                        data = await self.frames.reader.read(65_536)
                    if not data:
                        return
                    left -= len(data)
