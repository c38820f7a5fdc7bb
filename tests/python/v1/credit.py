"""The figures of W10 to W12, as both ends of a direction keep them, and buckets (W18.3)."""

import time

from .codec import LIMIT, Violation


def part(value, parts):
    return -(-value // parts)  # "parts are rounded up"


def return_step(settings):
    """By how much a RETURN has to rise (W12.4)."""
    return max(1, min(part(settings.window, 2), part(settings.budget, 4)))


class Direction:
    def __init__(self, window):
        self.sent, self.limit = 0, window  # W10.1
        self.final_debt = None  # what its FIN or RESET said

    @property
    def ended(self):
        return self.final_debt is not None

    @property
    def debt(self):
        return self.final_debt if self.ended else max(0, self.sent - self.limit)  # W10.2, W12.1


class Ledger:
    """The sum of the debts of one endpoint's directions (W10.3)."""

    def __init__(self):
        self.total = 0
        self.said = 0  # by FINs and RESETs
        self.returned = 0

    def send(self, direction, count):
        before = direction.debt
        direction.sent += count
        self.total += direction.debt - before

    def raise_limit(self, direction, limit):
        before = direction.debt
        direction.limit = limit
        self.total += direction.debt - before  # nothing for one that has ended (W12.3)

    def end(self, direction, debt):
        self.total += debt - direction.debt
        self.said += debt
        direction.final_debt = debt

    def pay_back(self, total):
        self.total -= total - self.returned
        self.returned = total


class Bucket:
    """How many frames may come in a second. It refills all the time."""

    def __init__(self, what, rate):
        self.what, self.rate, self.level = what, rate, rate
        self.at = time.monotonic()

    def take(self):
        now = time.monotonic()
        self.level = min(self.rate, self.level + (now - self.at) * self.rate) - 1
        self.at = now
        if self.level < 0:
            raise Violation(LIMIT, f"more than {self.rate} {self.what} in a second (W18)")
