"""A replayed pipeline with an adapter, as the teacher of a set-up over the same items in other rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.events.windows import Ids, Windows, concatenate, in_rows
from pipeline.models.catalogue import Catalogue, make_catalogue
from pipeline.models.text.hashing import HashingEncoder
from pipeline.setup.teacher import Teacher
from pipeline.strategies.raie.refreshed import Generation
from pipeline.strategies.raie.replayed import Raie
from tests.consumers.run_of_raie import SETTINGS, context_of, the_setup
from tests.replay.small import dataset, plan

SEEN = 640
"""Events of the stream that the pipeline has gated: then some windows have both backbone and adapter in their route."""

UNSEEN = "an item that nobody has taken"


@cache
def served() -> Raie:
    """The pipeline, whose log is closed; never changed."""
    raie = Raie(context_of(the_setup(), SETTINGS, plan().setup, Path(mkdtemp(prefix="taught-"))))
    for start in range(0, SEEN, 64):
        raie.observe(plan().stream[slice(start, start + 64)])
    raie.close()
    return raie


def last() -> Windows:
    """The windows that it observed last."""
    return plan().stream[slice(SEEN - 64, SEEN)]


@cache
def catalogue() -> Catalogue:
    """The items that it knows in other rows, after one that it does not know."""
    ids = (UNSEEN, *reversed([i for i in served()._items.catalogue.ids if i]))
    return make_catalogue(ids, dataset().items, HashingEncoder())


def windows() -> Windows:
    """Windows of set-up and of the stream so far, as those of a new set-up over that catalogue."""
    both = concatenate([plan().setup, plan().stream[slice(0, SEEN)]])
    rows = np.array([0, *(catalogue().row_of.get(i, 0) for i in plan().timeline.item_ids)])
    moved = in_rows(both, rows)
    return replace(moved, since_setup=np.zeros_like(moved.since_setup))


def since_setup() -> Ids:
    """Items of each window that were taken since the set-up of the pipeline."""
    context = context_of(the_setup(), SETTINGS, plan().setup, Path())
    return Generation(served(), context, the_setup(), 0).taken_since(windows())


@contextmanager
def strengthened(factor: float) -> Iterator[None]:
    """The parameters of the adapter times a factor, for a while."""
    host = served().live.host
    (name,) = host.names
    for times in (factor, 1 / factor):
        host.forget_vectors(name)
        with torch.no_grad():
            for parameter in host._adapters[name].parameters.values():
                parameter.mul_(times)
        if times == factor:
            yield


@cache
def teacher() -> Teacher:
    """The teacher of these windows."""
    return served().teacher(last(), catalogue(), since_setup())


def probabilities(teacher: Teacher, asked: Windows) -> tuple[Ids, NDArray[np.float32]]:
    """(k,) rows that a teacher knows, and its (n, k) probabilities of these."""
    rows, numbers = torch.arange(1, len(teacher.rows)), torch.arange(len(asked))
    known, logs = teacher.answer(asked, torch.device("cpu")).among(numbers, rows)
    return rows[known].numpy(), logs.exp().numpy()
