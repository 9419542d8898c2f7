"""A host that follows a catalogue: the same vectors item by item as all at once, to the bit."""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from pipeline.config import AdapterSettings
from pipeline.events.item import WHEN_TAKEN, Item
from pipeline.models.backbones.base import BLOCK
from pipeline.models.catalogue import Catalogue
from pipeline.models.injected import InjectedItems
from pipeline.models.lora.host import AdapterHost
from pipeline.models.lora.moved_items import known_rows
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.text.hashing import HashingEncoder
from tests.models.backbones.small import CONTEXTS, ITEMS, KINDS, small_backbone, small_catalogue

A = "r0001_v0001"
NEW = [f"new{number}" for number in range(BLOCK + 20)]
"""More than a block of items since set-up."""


class SmallEncoder(HashingEncoder):
    """Texts as vectors of the small backbones."""

    def encode(self, texts):  # type: ignore[no-untyped-def]
        return super().encode(texts)[:, :6]


def catalogue() -> OpenCatalogue:
    known: Catalogue = small_catalogue()
    return OpenCatalogue(known, SmallEncoder())


def arrive(of: OpenCatalogue, item_id: str) -> None:
    of.describe(Item(item_id, f"the text of {item_id}"), WHEN_TAKEN)
    of.take(item_id)


def moving(host: AdapterHost, items: list[str], of: OpenCatalogue) -> None:
    """Register an adapter with random tensors that moves items, those that are known here."""
    host.create(A, list(range(len(items))), parent=None, seed=0)
    rng = np.random.default_rng(0)
    tensors = {k: rng.normal(size=v.shape, scale=0.3).astype(np.float32) for k, v in host.tensors(A).items()}
    host.drop(A)
    moved = known_rows(tensors, items, of.row_of)
    host.register(A, moved.tensors, moved.rows)


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_of_items_that_come_one_by_one_are_those_of_a_fresh_start(kind: str) -> None:
    gradual, at_once = (AdapterHost(small_backbone(kind), AdapterSettings()) for _ in range(2))
    one, other = catalogue(), catalogue()
    for number, item_id in enumerate(NEW):
        arrive(one, item_id)
        arrive(other, item_id)
        if number % 40 == 5:
            gradual.follow(one)
            gradual.vectors(None)
    moving(gradual, ["i03", NEW[0], NEW[-1]], one)
    gradual.vectors(A)
    for of in (one, other):
        of.evict([NEW[3], NEW[9]])
        arrive(of, "late")
        of.describe(Item(NEW[7], "another text"), WHEN_TAKEN)
    gradual.follow(one)
    at_once.follow(other)
    moving(at_once, ["i03", NEW[0], NEW[-1]], other)
    contexts = np.concatenate([CONTEXTS.numpy(), [[0, 1, ITEMS + 1, ITEMS + 4, ITEMS + 200]]])
    for name in (None, A):
        assert gradual.vectors(name).shape == (ITEMS + 1 + len(NEW), 16)
        assert torch.equal(gradual.vectors(name), at_once.vectors(name))
        assert torch.equal(gradual.states(contexts, name), at_once.states(contexts, name))
    assert not torch.equal(gradual.vectors(None)[ITEMS + 4], torch.zeros(16))
    assert torch.equal(gradual.vectors(None)[ITEMS + 10], torch.zeros(16))


def test_items_of_set_up_keep_their_vectors_to_the_bit_whoever_comes() -> None:
    host, of = AdapterHost(small_backbone("sasrec"), AdapterSettings()), catalogue()
    before = host.vectors(None).clone()
    for item_id in NEW:
        arrive(of, item_id)
    host.follow(of)
    assert torch.equal(host.vectors(None)[: ITEMS + 1], before)


class Items(tuple[str, ...]):
    """Ids that cannot be gone through any more once `closed` is set."""

    closed = False

    def __iter__(self) -> Iterator[str]:
        assert not self.closed, "a change of one item looks at all injected items"
        return super().__iter__()


def test_injected_items_follow_their_rows_and_a_change_looks_at_what_changed() -> None:
    host, of = AdapterHost(small_backbone("sasrec"), AdapterSettings()), catalogue()
    names = (*NEW[:6], "never", "i03")
    vectors = np.random.default_rng(0).normal(size=(len(names), 16)).astype(np.float32)
    watched = Items(names)
    arrive(of, NEW[0])
    host.follow(of)
    host.inject(InjectedItems(watched, vectors), of.row_of)
    moving(host, ["i03", NEW[1]], of)
    arrive(of, NEW[1])
    host.follow(of)
    watched.closed = True
    # Arrivals, another text, a row that another item takes over, and a return in another row.
    steps = (
        lambda: [arrive(of, NEW[2]), arrive(of, NEW[3])],
        lambda: of.describe(Item(NEW[2], "another text"), WHEN_TAKEN),
        lambda: [of.evict([NEW[0], NEW[2]]), arrive(of, "other"), arrive(of, NEW[0])],
        lambda: [of.evict(["other"]), arrive(of, NEW[2]), arrive(of, NEW[4]), of.evict([NEW[3]])],
    )
    before = torch.zeros(0)
    for step in steps:
        step()
        host.follow(of)
        anew = copy.deepcopy(host)
        anew.inject(InjectedItems(names, vectors), of.row_of)
        for name in (None, A):
            states = host.states(CONTEXTS.numpy(), name)
            found = host.logits(states, name, of.rows)
            assert torch.equal(found, anew.logits(states, name, of.rows))
        assert before.shape != found.shape or not torch.equal(before, found)
        before = found
