"""A channel: W10 to W12, W14 and W15."""

import asyncio

from .codec import FLOW, MAX_DATA, PROTOCOL, Op, Violation
from .credit import Direction, part

REFUSED = 0xFFFF_FFFF  # W15.1
LOAN = 2 * 1024 * 1024  # W11.4
UNSENT = 64 * 1024  # a write waits while more is unsent


class ChannelError(Exception):
    """An end that is no FIN. `kind`: reset, stopped, refused (safe to try again), or lost."""

    def __init__(self, kind, code=0, text=""):
        super().__init__(f"{kind}, code {code}" + (f": {text}" if text else ""))
        self.kind, self.code = kind, code


class Changes(asyncio.Event):
    """Wakes who waits for a condition."""

    async def until(self, condition):
        while not condition():
            self.clear()
            await self.wait()


class Channel:
    """`with channel:` releases it at the end."""

    def __init__(self, connection, number, mine):
        self.connection, self.number, self.mine = connection, number, mine
        self.changed = Changes()
        self.released = False

        self.into = Direction(connection.settings.window)
        self.unread, self.read_count = bytearray(), 0  # bytes that were dropped are read
        self.read_error, self.stopped = None, False  # stopped: by this side
        self.held = 0  # of the final debt, what can't be paid back yet (W12.5)

        self.out = Direction(connection.peer.window)
        self.unsent, self.finishing = bytearray(), False
        self.write_error = None
        self.loan = LOAN

        self.used = False  # DATA, FIN or WINDOW came (W15.2, W17.5)
        self.stop_came = self.was_refused = False

    @property
    def closed(self):
        return self.into.ended and self.out.ended  # W14.8

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()

    # what the application calls

    async def read(self, most=65_536):
        """Bytes, or none at the clean end. Bytes before a RESET can still be read."""
        await self.changed.until(lambda: self.unread or self.read_error or self.into.ended)
        if not self.unread and self.read_error:
            raise self.read_error
        data = bytes(self.unread[:most])
        del self.unread[:most]
        self._was_read(len(data))
        return data

    async def write(self, data):
        if self.finishing:
            raise ChannelError("finished", 0, "by this side")
        if not self.write_error:
            self.unsent += data
            self.connection.is_ready(self)
        await self.changed.until(lambda: self.write_error or len(self.unsent) <= UNSENT)
        if self.write_error:
            raise self.write_error

    def finish(self):
        self.finishing = True
        self.connection.is_ready(self)

    def reset(self, code=0):
        assert code != REFUSED  # W14.7
        self._reset(code, ChannelError("reset", code, "by this side"))

    def refuse(self):
        """In place of giving the channel to an application (W15.1)."""
        self._stop(REFUSED)
        self._reset(REFUSED, ChannelError("refused", REFUSED, "by this side"))
        self.release()

    def release(self):
        self.released = True
        self._stop(0)
        if not self.finishing:
            self.reset()
        self._settle()

    # inside

    def _stop(self, code):
        """Asks the peer to end its direction. What came and will come is dropped."""
        if not self.into.ended and not self.stopped:  # W14.5
            self.stopped = True
            self.connection.send(Op.STOP, self.number, code)
            self.read_error = self.read_error or ChannelError("stopped", code, "by this side")
        self._drop_unread()

    def _drop_unread(self):
        count = len(self.unread)
        self.unread.clear()
        self._was_read(count)

    def _reset(self, code, error):
        self.write_error = self.write_error or error
        self.unsent.clear()
        if not self.out.ended:
            self.connection.send(Op.RESET, self.number, code, self.out.debt)  # W12.1
            self._end_out()
        self.changed.set()

    def _end_out(self):
        self.connection.owed.end(self.out, self.out.debt)
        self._settle()

    def _was_read(self, count):
        self.read_count += count
        window = self.connection.settings.window
        limit = self.read_count + window  # W11.2
        needless = self.into.ended or self.stopped  # W14.5
        if not needless and limit - self.into.limit >= part(window, 2):  # W11.3
            self.connection.lent.raise_limit(self.into, limit)
            self.connection.send(Op.WINDOW, self.number, limit, LOAN)
        self._settle()

    def _settle(self):
        held = 0
        if self.into.ended:  # W12.5
            beyond = len(self.unread) - self.connection.settings.window
            held = min(self.into.final_debt, max(0, beyond))
        self.connection.is_held(held - self.held)
        self.held = held
        if self.closed and self.released:
            self.connection.forget(self)

    def send_some(self):
        """One DATA frame at most, so that channels take turns. Returns its size."""
        if self.out.ended:
            return 0
        owed, out = self.connection.owed, self.out
        borrow = min(self.loan - out.debt, self.connection.peer.budget - owed.total)
        credit = max(0, out.limit - out.sent) + max(0, borrow)  # W10.3, W11.4
        count = min(len(self.unsent), MAX_DATA, credit)
        if count:
            self.connection.send(Op.DATA, self.number, bytes(self.unsent[:count]))
            del self.unsent[:count]
            owed.send(out, count)
            self.changed.set()
        if self.unsent:
            self.connection.is_ready(self) if count else self.connection.blocked.add(self)
        elif self.finishing:
            self.connection.send(Op.FIN, self.number, out.debt)
            self._end_out()
        return count

    # frames of the peer

    def check_sender(self, what):
        if self.into.ended:
            raise Violation(PROTOCOL, f"{what} behind the end of channel {self.number} (W14.1)")
        if self.was_refused and what != "RESET":
            raise Violation(PROTOCOL, f"{what} behind a refusal of {self.number} (W15.3)")

    def on_data_header(self, length):
        self.check_sender("DATA")
        self.connection.lent.send(self.into, length)  # W10.5: also what is dropped
        if self.connection.lent.total > self.connection.settings.budget:
            raise Violation(FLOW, f"DATA on {self.number} beyond the credit (W10.3)")
        self.used = True

    def on_data(self, body):
        self.unread += body
        self.changed.set()
        if self.stopped:
            self._drop_unread()

    def on_window(self, limit, loan):
        if self.closed:
            return  # W14.4
        if self.was_refused:
            raise Violation(PROTOCOL, f"WINDOW behind a refusal of {self.number} (W15.3)")
        least, most = part(self.connection.peer.window, 2), self.connection.peer.window
        if not self.out.limit + least <= limit <= self.out.sent + most:  # W11.1
            raise Violation(FLOW, f"WINDOW of {self.number}: {limit} (W11.1)")
        self.connection.owed.raise_limit(self.out, limit)
        self.used, self.loan = True, loan
        self.connection.is_paid(self)

    def on_fin(self, debt):
        self.check_sender("FIN")
        self.used = True
        self._end_into(debt)

    def on_reset(self, code, debt):
        self.check_sender("RESET")
        refused = self.was_refused or self._refuses(code)
        self.read_error = self.read_error or ChannelError("refused" if refused else "reset", code)
        self._end_into(debt)
        if refused:
            self.fail(self.read_error)

    def _refuses(self, code):
        return code == REFUSED and self.mine and not self.used  # W15.2

    def _end_into(self, debt):
        lent, known = self.connection.lent, self.into.debt
        sum_fits = lent.total + debt - known <= self.connection.settings.budget
        if not known <= debt <= self.into.sent or not sum_fits:
            raise Violation(FLOW, f"an end of {self.number} with a debt of {debt} (W12.2)")
        lent.end(self.into, debt)
        self.changed.set()
        self._settle()

    def on_stop(self, code):
        if self.closed:
            return  # W14.4
        if self.stop_came:
            self.connection.no_ops.take()
        self.stop_came = True
        if self._refuses(code):
            self.was_refused = True
            self.fail(ChannelError("refused", code))
        answer = 0 if code == REFUSED and not self.mine else code  # W14.3
        self._reset(answer, ChannelError("stopped", code))

    def fail(self, error):
        """Ends what has not ended for the application."""
        if not self.into.ended:
            self.read_error = self.read_error or error
        if not self.out.ended:
            self.write_error = self.write_error or error
        self.changed.set()
