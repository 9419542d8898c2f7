"""Boundaries of regions: the origin model fitted anew, and the border between two set-up regions moved."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.editing.encoding import encode
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit, Evidence
from pipeline.regions.bank import RegionBank
from pipeline.regions.encoded import Encoded
from pipeline.regions.origin_classifier import fit_origins
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Region
from pipeline.regions.shape import Shape, moved
from pipeline.regions.vmf import shares_among
from pipeline.setup.artifacts import SetUp


class Boundaries:
    """Fitting of boundaries to the evidence of edits.

    Args:
        setup: its regions and encoded reference windows stand for the set-up origin.
        config: sections `setup`, `gate` and `edits`.
        workspace: encodes and reads windows.
    """

    def __init__(self, setup: SetUp, config: Config, workspace: Workspace) -> None:
        self._setup = setup
        self._config = config
        self._host = workspace.host
        self._windows_of = workspace.windows_of

    def samples(self, evidence: Sequence[Evidence], renamed: dict[int, int] | None = None) -> dict[int, Encoded]:
        """Encode the evidence of each stream region.

        Args:
            evidence: newest windows of the regions.
            renamed: regions whose evidence counts for another one.
        """
        by_region: dict[int, list[Evidence]] = {}
        for e in evidence:
            by_region.setdefault((renamed or {}).get(e.region_id, e.region_id), []).append(e)
        windows = {region_id: self._windows_of(found) for region_id, found in by_region.items()}
        return {region_id: encode(self._setup, self._host, found) for region_id, found in windows.items()}

    def refit(self, samples: dict[int, Encoded]) -> OriginModel:
        """Fit the origin model: a classifier of set-up and each stream region.

        Args:
            samples: encoded windows of every stream region that stays.
        """
        origins, setup = sorted(samples), self._setup
        if not origins:
            return setup.bank.origins
        usual = np.maximum(_shares(setup.bank.setup, setup.encoded), 1e-9)
        coverage = np.minimum([_shares(setup.bank.setup, samples[i]) / usual for i in origins], 1.0)
        known = [setup.encoded, *(samples[i] for i in origins)]
        return fit_origins(origins, known, coverage, [1.0, *(coverage @ usual)], self._config.gate.penalty)

    def move_between(self, edit: Edit, bank: RegionBank, means: Array) -> RegionBank:
        """Move the priors of two set-up regions towards the windows between them, or priors and shapes if likelier.

        Args:
            edit: names both regions; its reason has the share of recent windows of each.
            bank: regions before.
            means: (n, d) unit vectors of the windows.
        """
        rate, shares = self._config.edits.expand_rate, edit.reason["shares"]
        pair = [bank[edit.region_id], bank[other_region(edit)]]
        nearest = (means @ np.stack([r.centroid for r in pair]).T).argmax(axis=1)
        priors = [
            replace(r, version=r.version + 1, prior=(1.0 - rate) * r.prior + rate * shares[str(r.region_id)])
            for r in pair
        ]
        shapes = [self._towards(region, means[nearest == i], len(means)) for i, region in enumerate(priors)]
        candidates = [bank.changed(*regions) for regions in (priors, shapes)]
        return max(candidates, key=lambda c: float(c.log_likelihood(means).mean())).rebound(bank.origins)

    def parent(self, bank: RegionBank, encoded: Encoded) -> Region | None:
        """Return the stream region with the largest mean posterior on windows, if it reaches `gate.floor`."""
        if not bank.stream:
            return None
        shares = bank.posterior(encoded).probabilities[:, -len(bank.stream) :].mean(axis=0)
        best = int(shares.argmax())
        return bank.stream[best] if shares[best] >= self._config.gate.floor else None

    def moved_share(self, edit: Edit, before: RegionBank, after: RegionBank) -> float | None:
        """Return the share of an edit's windows whose region changed; None where no boundary moved."""
        if after.gate_version == before.gate_version or not edit.windows:
            return None
        encoded = encode(self._setup, self._host, self._windows_of(edit.windows))
        return float((before.posterior(encoded).tops != after.posterior(encoded).tops).mean())

    def _towards(self, region: Region, own: Array, windows: int) -> Region:
        """Move the shape of a region towards its own part of so many windows."""
        if not len(own):
            return region
        rate = self._config.edits.expand_rate * len(own) / windows
        return reshaped(region, moved(region, own, rate, self._config.setup.radius_quantile))


def reshaped(region: Region, shape: Shape) -> Region:
    """Return a region with another shape."""
    return replace(region, centroid=shape.centroid, radius=shape.radius, concentration=shape.concentration)


def other_region(edit: Edit) -> int:
    """Return the id of the second region of an edit.

    Raises:
        ValueError: the edit names only one region.
    """
    if edit.other_region_id is None:
        raise ValueError(f"{edit.operation} {edit.edit_id} concerns two regions, but names one")
    return edit.other_region_id


def _shares(regions: Sequence[Region], windows: Encoded) -> Array:
    """Return (k,) shares of the windows that each region is the likeliest for."""
    likeliest = shares_among(regions, windows.means).argmax(axis=1)
    shares: Array = np.bincount(likeliest, minlength=len(regions)) / len(windows)
    return shares
