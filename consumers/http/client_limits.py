"""Limits of each client: requests a second, and requests at once."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

Limit = Literal["rate", "in_flight"]

BURST_SECONDS = 2.0
"""Seconds of the rate that a client that was quiet may use at once."""

MOST_CLIENTS = 10_000
"""Most clients whose use is remembered; beyond it the one that has been quiet longest is forgotten."""


@dataclass
class _Use:
    """Use by one client: requests that it may still make, when that was so, and requests being answered."""

    tokens: float
    at: float
    in_flight: int = 0


@dataclass(frozen=True)
class Exceeded:
    """A limit that a request would break, and whole seconds after which it may come again."""

    limit: Limit
    retry_after: int


class ClientLimits:
    """Counts requests by client: a token bucket, and those being answered.

    Args:
        per_second: most requests a second of a client, None for any number.
        in_flight: most requests of a client at once, None for any number.
    """

    def __init__(self, per_second: float | None, in_flight: int | None) -> None:
        self._rate, self._in_flight = per_second, in_flight
        self._burst = max(1.0, BURST_SECONDS * per_second) if per_second else 0.0
        self._uses: OrderedDict[str, _Use] = OrderedDict()

    def begin(self, client: str, now: float) -> Exceeded | None:
        """Begin a request at a time in seconds: `end` must follow, unless a limit is returned.

        A refused request uses nothing, so that a client that keeps asking gets its rate all the same.
        """
        use = self._uses.setdefault(client, _Use(self._burst, now))
        self._uses.move_to_end(client)
        self._forget()
        if self._in_flight is not None and use.in_flight >= self._in_flight:
            return Exceeded("in_flight", 1)
        if self._rate is not None:
            use.tokens, use.at = min(self._burst, use.tokens + (now - use.at) * self._rate), now
            if use.tokens < 1.0:
                return Exceeded("rate", math.ceil((1.0 - use.tokens) / self._rate))
            use.tokens -= 1.0
        use.in_flight += 1
        return None

    def end(self, client: str) -> None:
        """End a request that had begun."""
        self._uses[client].in_flight -= 1

    def __len__(self) -> int:
        """Return the number of clients that are remembered."""
        return len(self._uses)

    def _forget(self) -> None:
        """Forget the quietest client if there are too many; never one whose requests are being answered."""
        if len(self._uses) > MOST_CLIENTS:
            idle = next((name for name, use in self._uses.items() if not use.in_flight), None)
            if idle is not None:
                del self._uses[idle]
