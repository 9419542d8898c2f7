"""A backbone begins with the weights of another one: rows by item id, everything else as it is."""

import pytest
import torch

from pipeline.config import BackboneSettings
from pipeline.errors import BackboneError
from pipeline.models.backbones.base import Backbone
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.backbones.warm_start import ROWS, begin_from
from pipeline.models.catalogue import Catalogue, make_catalogue
from pipeline.models.text.hashing import HashingEncoder


def built(items: list[str], seed: int, size: int = 16) -> tuple[Backbone, Catalogue]:
    catalogue = make_catalogue(items, {}, HashingEncoder())
    return build_backbone(BackboneSettings(hidden_size=size, blocks=1), 5, catalogue, seed), catalogue


def test_known_items_and_all_other_weights_are_those_of_the_old_one() -> None:
    old, known = built(["a", "b", "c"], seed=0)
    new, catalogue = built(["c", "d", "a"], seed=1)
    own = new.items.rows.weight.detach().clone()
    begin_from(new, catalogue, old, known)
    rows, theirs = new.items.rows.weight, old.items.rows.weight
    assert torch.equal(rows[1], theirs[3]) and torch.equal(rows[3], theirs[1])
    assert torch.equal(rows[2], own[2]) and torch.equal(rows[0], own[0])
    of_old = dict(old.named_parameters())
    assert all(torch.equal(weight, of_old[name]) for name, weight in new.named_parameters() if name != ROWS)


def test_another_shape_is_refused_with_what_to_do() -> None:
    old, known = built(["a"], seed=0)
    new, catalogue = built(["a"], seed=0, size=32)
    with pytest.raises(BackboneError, match=r"of another shape; .*set refresh\.begin_from to scratch"):
        begin_from(new, catalogue, old, known)
