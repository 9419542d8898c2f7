"""Beginning of a backbone from the weights of another one, which may know other items."""

import torch

from pipeline.errors import BackboneError
from pipeline.models.backbones.base import Backbone
from pipeline.models.catalogue import Catalogue
from pipeline.models.quantization import in_full

ROWS = "items.rows.weight"
"""Weight that has a row for each item."""


@torch.no_grad()
def begin_from(backbone: Backbone, catalogue: Catalogue, old: Backbone, known: Catalogue) -> None:
    """Copy the weights of another backbone; items that it does not know keep their own rows.

    Args:
        backbone: on the CPU, before its training.
        catalogue: its items.
        old: of the same settings.
        known: the items of `old`.

    Raises:
        BackboneError: it is of another shape.
    """
    theirs = dict(old.named_parameters())
    for name, weight in backbone.named_parameters():
        before = theirs.get(name)
        if name == ROWS and before is not None and before.shape[1] == weight.shape[1]:
            places = {item_id: row for row, item_id in enumerate(known.item_ids, start=1)}
            pairs = [(row, places[i]) for row, i in enumerate(catalogue.item_ids, start=1) if i in places]
            if pairs:
                here, there = (torch.tensor(rows) for rows in zip(*pairs, strict=True))
                weight[here] = before[there.to(before.device)].to(weight)
        elif before is None or before.shape != weight.shape:
            raise BackboneError(
                f"the backbone cannot begin from the present one: {name} is of another shape; use the settings of the "
                "present one, or set refresh.begin_from to scratch"
            )
        else:
            weight.copy_(in_full(before))
