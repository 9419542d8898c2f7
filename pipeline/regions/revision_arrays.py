"""Arrays of a revision in a file of the adapters store, where they are too large for its record.

A record of the log has a largest size, and the boundaries alone grow with width times regions. The file is written
before the transaction that has the record; whoever reads the record reads the file before it applies the revision.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_store import ArrayFiles
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Region
from pipeline.regions.revision import Revision

LARGEST_INLINE = 8_192
"""Most bytes of arrays that stay in a record; as JSON a number takes about 20 bytes for its 8."""

_WINDOWS = "unlearned.windows"

_OF_ORIGINS = ("coverage", "center", "scale", "weights")


def by_reference(revision: Revision, files: ArrayFiles) -> Revision:
    """Write the arrays of a revision into a file, if they are too large for its record.

    Returns:
        The revision to be recorded: without these arrays, or as it is.

    Raises:
        StoreError: the file cannot be written.
    """
    arrays = _arrays_of(revision)
    if sum(array.nbytes for array in arrays.values()) <= LARGEST_INLINE:
        return revision
    file = files.write(arrays, revision.edit_id)
    regions = tuple(replace(region, centroid=np.zeros(0)) for region in revision.regions)
    unlearned = revision.unlearned and replace(revision.unlearned, windows=())
    return replace(
        revision, regions=regions, origins=_without_arrays(revision.origins), unlearned=unlearned, arrays=file
    )


def resolved(revision: Revision, files: ArrayFiles) -> Revision:
    """Read back the arrays of a revision that `by_reference` has left out.

    Raises:
        StoreError: the file is missing or damaged; names it.
        LookupError: the file is that of another revision.
    """
    if revision.arrays is None:
        return revision
    arrays = files.read(revision.arrays)
    regions = tuple(replace(region, centroid=arrays[_centroid(region)]) for region in revision.regions)
    origins = revision.origins and OriginModel(
        revision.origins.origins, *(arrays[_origins(name)] for name in _OF_ORIGINS)
    )
    unlearned = revision.unlearned and replace(revision.unlearned, windows=tuple(arrays[_WINDOWS].tolist()))
    return replace(revision, regions=regions, origins=origins, unlearned=unlearned, arrays=None)


def _arrays_of(revision: Revision) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {_centroid(region): region.centroid for region in revision.regions}
    if revision.origins is not None:
        arrays |= {_origins(name): getattr(revision.origins, name) for name in _OF_ORIGINS}
    if revision.unlearned is not None:
        arrays[_WINDOWS] = np.array(revision.unlearned.windows, dtype=np.int64)
    return arrays


def _without_arrays(origins: OriginModel | None) -> OriginModel | None:
    if origins is None:
        return None
    setup_regions = origins.coverage.shape[1]
    return OriginModel(origins.origins, np.zeros((0, setup_regions)), np.zeros(0), np.zeros(0), np.zeros(0))


def _centroid(region: Region) -> str:
    return f"centroid.{region.region_id}"


def _origins(name: str) -> str:
    return f"origins.{name}"
