"""Writing of items of an open catalogue into the item table of a backbone."""

from collections.abc import Sequence

import torch

from pipeline.models.backbones.base import Backbone
from pipeline.models.open_catalogue import OpenCatalogue

TOGETHER = 1_024
"""Items whose texts are encoded and written together."""


def write_items(backbone: Backbone, catalogue: OpenCatalogue, rows: Sequence[int]) -> None:
    """Write texts and rows of items, in the order of (m,) catalogue rows, with room for all of the catalogue.

    Args:
        backbone: whose table is written; it keeps its own rows of the items of set-up.
        catalogue: the items.
        rows: that have changed.
    """
    backbone.items.resize(catalogue.rows)
    for start in range(0, len(rows), TOGETHER):
        part = rows[start : start + TOGETHER]
        for row, vector in zip(part, torch.from_numpy(catalogue.vectors(part)), strict=True):
            item = catalogue.item(catalogue.ids[row])
            backbone.set_item(row, item.text if item else "", vector, keep_row=row <= len(catalogue.setup))
