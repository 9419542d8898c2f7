"""Services that answer the users of a server: one, and during a split a second one, which answers a share of them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from consumers.server.recommender import Ask
from consumers.server.service import Service
from pipeline.events.split import Split
from pipeline.recommend.split_outcome import SplitOutcome


class Part(NamedTuple):
    """Place of an answer in a split.

    Attributes:
        split: its number.
        bucket: bucket of the user.
    """

    split: int
    bucket: int


@dataclass(frozen=True)
class Arms:
    """The services of a server.

    Attributes:
        main: of the generation that answers; also for everything that is not about one user.
        other: of the generation that answers a share of the users; None without a split, and until it is loaded.
        split: under way between both, None without `other`.
    """

    main: Service
    other: Service | None = None
    split: Split | None = None

    @property
    def services(self) -> tuple[Service, ...]:
        """Those that there are."""
        return (self.main,) if self.other is None else (self.main, self.other)

    def of(self, ask: Ask) -> tuple[Service, Part | None]:
        """Service that answers a request, and the place of the answer in a split.

        A request without a user is not of a split, nor one as of a revision, which is of the generation that answers.
        """
        if self.split is None or self.other is None or ask.user_id is None or ask.revision is not None:
            return self.main, None
        bucket = self.split.bucket(ask.user_id)
        is_tried = self.split.arm(bucket) == self.split.generation
        return self.other if is_tried else self.main, Part(self.split.number, bucket)

    def of_generation(self, generation: int | None) -> Service:
        """Service that takes the feedback on answers of a generation."""
        return next((one for one in self.services if one.generation == generation), self.main)

    def outcome(self) -> SplitOutcome | None:
        """Outcome of the split, from the feedback that this server has read; None without one."""
        if self.split is None:
            return None
        counted = [one.split_counts.of(self.split) for one in self.services]
        return SplitOutcome.of(self.split, np.sum(counted, axis=0))
