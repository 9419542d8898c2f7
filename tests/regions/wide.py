"""Synthetic regions of any width, as edits would leave them: nothing is trained."""

from dataclasses import replace

import numpy as np

from pipeline.regions.bank import RegionBank
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.revision import Revision

SETUP = (1, 2, 3)


def region(region_id: int, width: int, origin: Origin = Origin.STREAM, version: int = 1) -> Region:
    direction = np.random.default_rng(region_id).normal(size=width)
    adapter = f"r{region_id:04d}_v{version:04d}" if origin is Origin.STREAM else None
    centroid = direction / np.linalg.norm(direction)
    return Region(region_id, version, Status.LIVE, origin, None, centroid, 0.5, 20.0, 0.1, adapter, 10, 0.8)


def bank(width: int) -> RegionBank:
    """Three set-up regions."""
    return RegionBank(tuple(region(i, width, Origin.BASE) for i in SETUP), OriginModel.certain(width, len(SETUP)))


def boundaries(opened: tuple[int, ...], width: int) -> OriginModel:
    """Boundaries of stream regions, small enough that no origin is certain."""
    rng, m = np.random.default_rng(len(opened)), len(opened)
    weights = rng.normal(size=(width + m + 1, 1 + m)) / width
    return OriginModel(opened, rng.random((m, len(SETUP))), rng.normal(size=width), np.ones(width), weights)


def add(before: RegionBank, width: int) -> Revision:
    """The revision that opens the next region."""
    region_id = max(r.region_id for r in before.regions) + 1
    origins = boundaries((*before.origins.origins, region_id), width)
    return Revision((region(region_id, width),), origins, before.gate_version + 1, f"edit-{region_id}", {})


def update(before: RegionBank, region_id: int) -> Revision:
    """The revision that gives a region the next version of its adapter."""
    now = before[region_id]
    name = f"r{region_id:04d}_v{now.version + 1:04d}"
    changed = replace(now, version=now.version + 1, adapter=name)
    return Revision((changed,), None, before.gate_version, f"edit-{name}", {})
