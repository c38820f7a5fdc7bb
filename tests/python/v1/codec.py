"""Frames and settings: W1 to W8."""

import asyncio
import struct
import time
from dataclasses import dataclass
from enum import IntEnum

VERSION = 1
MAX_NUMBER = 2**31 - 1
MAX_DATA, MAX_SETTINGS, MAX_TEXT = 16_384, 1_024, 1_016
ORDERLY, PROTOCOL, FLOW, LIMIT, HANDSHAKE = range(5)  # W17.3


class Op(IntEnum):
    HELLO, HELLO_REPLY, OPEN, CLOSE, DATA = range(1, 6)
    WINDOW, FIN, STOP, RESET, PING, PONG = range(0x10, 0x16)
    MAX_CHANNELS, DRAIN, GOAWAY, RETURN = range(0x16, 0x1A)


KNOWN = set(Op)
SHORT = {Op.HELLO, Op.HELLO_REPLY, Op.OPEN}
OF_CHANNEL = {Op.OPEN, Op.DATA, Op.WINDOW, Op.FIN, Op.STOP, Op.RESET}
BODIES = {
    Op.WINDOW: ">QI", Op.FIN: ">Q", Op.STOP: ">I", Op.RESET: ">IQ", Op.PING: ">Q",
    Op.PONG: ">Q", Op.MAX_CHANNELS: ">I", Op.DRAIN: ">", Op.RETURN: ">Q",
}  # fmt: skip


class Violation(Exception):
    """A rule was broken: the GOAWAY that says so has this code (W17.3)."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class OtherVersion(Violation):
    pass


def encode(op, *args):
    """The bytes of a frame. The arguments are its channel, if it has one, and its fields."""
    head = bytes((VERSION, op))
    if op in SHORT:
        return head + struct.pack(">I", *args)
    number, fields = (args[0], args[1:]) if op in OF_CHANNEL else (0, args)
    if op == Op.DATA:
        (body,) = fields
    elif op == Op.GOAWAY:
        last, code, text = fields
        whole = text.encode()[:MAX_TEXT].decode("utf-8", "ignore")  # W5.2, W5.3
        body = struct.pack(">II", last, code) + whole.encode()
    else:
        body = struct.pack(BODIES[op], *fields)
    return head + struct.pack(">IH", number, len(body)) + body


class FrameReader:
    """Reads frames, and checks W1.1, W1.2 and W4 to W8.1 in the order of W1.4."""

    def __init__(self, reader: asyncio.StreamReader):
        self.reader = reader
        self.heard = time.monotonic()  # when the last byte came

    async def take(self, count, first=False):
        """So many bytes; None at the end of the stream if a frame would be the next."""
        data = bytearray()
        while len(data) < count:
            piece = await self.reader.read(count - len(data))
            if not piece and first:
                return None
            if not piece:
                raise EOFError("the stream ended within a frame")
            self.heard = time.monotonic()
            data += piece
        return data

    async def next(self):
        """An op and its arguments, as of `encode`; None at the end of the stream.

        The last argument of DATA and of skipped ops is the length of the body, which the
        caller has to take: their header counts as the frame (W1.6).
        """
        if (version := await self.take(1, first=True)) is None:
            return None
        if version[0] != VERSION:
            raise OtherVersion(PROTOCOL, f"version byte {version[0]} (W1.2)")
        (op,) = await self.take(1)
        if op == Op.CLOSE:
            raise Violation(PROTOCOL, "CLOSE in version 1 (W8.1)")
        if op not in KNOWN and op < 0x80:
            raise Violation(PROTOCOL, f"unknown op {op:#04x} (W4.2)")
        if op in SHORT:
            (value,) = struct.unpack(">I", await self.take(4))
            if op == Op.OPEN:
                check_channel(op, value)
            return op, (value,)
        number, length = struct.unpack(">IH", await self.take(6))
        if op >= 0x80:
            return op, (length,)  # W4.1
        check_length(op, number, length)
        check_channel(op, number)
        if op == Op.DATA:
            return op, (number, length)
        fields = decode_body(op, await self.take(length))
        return op, (number, *fields) if op in OF_CHANNEL else fields


def check_length(op, number, length):
    if op == Op.DATA:
        fits = 1 <= length <= MAX_DATA if number else length <= MAX_SETTINGS  # W7.1, W3.2
    elif op == Op.GOAWAY:
        fits = 8 <= length <= 8 + MAX_TEXT  # W5.2
    else:
        fits = length == struct.calcsize(BODIES[op])  # W5.1
    if not fits:
        raise Violation(PROTOCOL, f"{Op(op).name} with a body of {length} bytes (W5, W7.1)")


def check_channel(op, number):
    if op != Op.DATA and (number != 0) != (op in OF_CHANNEL):
        raise Violation(PROTOCOL, f"{Op(op).name} on channel {number} (W6)")


def decode_body(op, body):
    if op != Op.GOAWAY:
        return struct.unpack(BODIES[op], body)
    try:
        return *struct.unpack_from(">II", body), body[8:].decode()
    except UnicodeDecodeError:
        raise Violation(PROTOCOL, "a GOAWAY whose text is no UTF-8 (W5.3)") from None


@dataclass(frozen=True)
class Settings:
    """W3. The defaults are the least values (W3.5)."""

    window: int = 65_536
    channels: int = 256
    budget: int = 0
    number: int = 0

    def encode(self):
        return b"".join(
            struct.pack(">HH", kind, size) + getattr(self, name).to_bytes(size, "big")
            for kind, (name, size, _, _) in TYPES.items()
        )

    @classmethod
    def decode(cls, body):
        found, rest = {}, body
        while rest:
            kind, size = struct.unpack_from(">HH", rest) if len(rest) >= 4 else (0, len(rest))
            value, rest = rest[4 : 4 + size], rest[4 + size :]
            if len(value) < size:
                raise Violation(HANDSHAKE, "settings that don't fit (W3.2)")
            if kind not in TYPES:
                continue  # W3.3
            name, length, least, most = TYPES[kind]
            number = int.from_bytes(value, "big")
            if name in found or size != length or not least <= number <= most:
                raise Violation(HANDSHAKE, f"settings type {kind} (W3.4)")
            found[name] = number
        return cls(**found)


TYPES = {
    1: ("window", 4, 65_536, MAX_NUMBER),
    2: ("channels", 4, 256, MAX_NUMBER),
    3: ("budget", 8, 0, 2**64 - 1),
    4: ("number", 8, 0, 2**64 - 1),
}
