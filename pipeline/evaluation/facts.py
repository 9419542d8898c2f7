"""Facts of a run beside its predictions: sizes of slices, training cost, edits, regions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.evaluation.segments import Segments


@dataclass(frozen=True, slots=True)
class SliceFacts:
    """Size of a slice.

    Attributes:
        windows: interactions scored in it.
        users: distinct users among them.
        items: distinct targets among them.
        unseen_share: share of its interactions with a target that does not occur in S, in [0, 1].
    """

    windows: int
    users: int
    items: int
    unseen_share: float


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Facts of a run that predictions do not contain. Lists hold one entry per seed, seeds ascending.

    Attributes:
        dataset: its name.
        protocol: `prequential` or `windows`.
        slices: by name, S, F and T.
        trained_windows: by strategy, windows trained on after set-up, each pass counted.
        edits: number of edits of `raie` by kind (`EDIT_KINDS`); empty lists without `raie`.
        regions_start: live regions of `raie` after set-up.
        regions_end: live regions of `raie` after the last edit.
        memory_bytes: by strategy, bytes used for scoring beside the backbone, after the last update interval.
        segments: by slice, the segments of its interactions.
        continual: results matrices and their measures, or None without a continual run.
    """

    dataset: str
    protocol: str
    slices: Mapping[str, SliceFacts]
    trained_windows: Mapping[str, Sequence[int]]
    edits: Mapping[str, Sequence[int]]
    regions_start: Sequence[int]
    regions_end: Sequence[int]
    memory_bytes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    segments: Mapping[str, Segments] = field(default_factory=dict)
    continual: Mapping[str, Any] | None = None

    def sizes(self, name: str) -> dict[str, Any]:
        """Size of a slice, and with segments its number of first interactions with an item since the stream began."""
        sizes = asdict(self.slices[name])
        if name in self.segments:
            sizes["first_interactions"] = int((self.segments[name].occurrence == 1).sum())
        return sizes
