"""Ids of answers, which hold their origin: `<random>.<region>.<version>.<revision>`, and what follows.

    .<revision>.<bucket>          of an answer that is part of a canary trial: the revision that started it
    .g<generation>                of a later generation than the first, or of a split
    .s<number>.<bucket>           of an answer that is part of a split of the users between two generations

So no server stores its answers, every server can count the feedback on any answer, and no id names a user.
"""

import re
from dataclasses import dataclass

from pipeline.events.buckets import BUCKETS
from pipeline.streams.topics import FIRST

_ID = re.compile(
    r"[0-9a-f]{16}\.(?P<region>\d{1,4}|-)\.(?P<adapter>r\d{4}_v\d{4}|-)\.(?P<revision>-1|\d{1,15})"
    r"(?:\.(?P<canary>\d{1,15})\.(?P<bucket>\d{1,4}))?"
    r"(?:\.g(?P<generation>\d{1,9})(?:\.s(?P<split>\d{1,9})\.(?P<part>\d{1,4}))?)?"
)


@dataclass(frozen=True)
class Answered:
    """Origin of an answer, as its request id has it.

    Attributes:
        region_id: the region, or None.
        adapter: its version; None: the backbone, or online popularity.
        revision: of the answer.
        canary: revision that started the trial that the answer is part of, or None.
        bucket: of the user in that trial.
        generation: that answered; None: the first, or any of an earlier version, which did not name it.
        split: number of the split that the answer is part of, or None.
        part: bucket of the user in that split.
    """

    region_id: int | None
    adapter: str | None
    revision: int
    canary: int | None = None
    bucket: int = 0
    generation: int | None = None
    split: int | None = None
    part: int = 0

    def request_id(self, unique: str) -> str:
        """Its id; `unique` is 16 hexadecimal digits."""
        parts = [unique, "-" if self.region_id is None else self.region_id, self.adapter or "-", self.revision]
        parts += [] if self.canary is None else [self.canary, self.bucket]
        if self.split is not None or (self.generation or FIRST) > FIRST:
            parts += [f"g{self.generation or FIRST}"]
        parts += [] if self.split is None else [f"s{self.split}", self.part]
        return ".".join(map(str, parts))


def parse_request_id(request_id: str) -> Answered | None:
    """Parse a request id; None if it has another form."""
    match = _ID.fullmatch(request_id)
    if match is None:
        return None
    region, adapter = (None if match[name] == "-" else match[name] for name in ("region", "adapter"))
    canary, generation, split = (
        None if match[name] is None else int(match[name]) for name in ("canary", "generation", "split")
    )
    bucket, part = int(match["bucket"] or 0), int(match["part"] or 0)
    if max(bucket, part) >= BUCKETS or generation == 0:
        return None
    number = None if region is None else int(region)
    return Answered(number, adapter, int(match["revision"]), canary, bucket, generation, split, part)
