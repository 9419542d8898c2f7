"""Injection: output vectors of new items in closed form, from frozen states; nothing is trained.

An item that set-up lacks starts from its text's projection, v. Windows that call for it pull v towards a wanted logit:

    minimise over u   sum_i w_i (s_i u - z_i)^2 + strength d (u - v)' C (u - v)
    solution          u = v + G S' (S G S' + strength d W^-1)^-1 (z - S v),   G = C^-1

with the (k, d) last states S of the windows, their weights W, wanted logits z, and the second moment C of the states of
set-up windows, so that other answers move as little as possible. The windows are

    pseudo-contexts    windows of set-up before the items whose texts are nearest, together of weight `PSEUDO`; z: the
                       logit that the neighbour reaches there, at most that of place `PLACE`
    own contexts       windows that preceded the item since it was last injected, each of weight 1; z: the logit of the
                       item at place `PLACE` of set-up's items

This is the closed form of GenRecEdit (ridge regression on keys, weighted by the second moment of keys), applied to
output vectors. Later injections of an item start from its vector of before: recursive least squares in which older
windows fade. An item without text starts from zero and is reached through its own contexts alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.editing.validation import ValidationResult
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit
from pipeline.events.windows import PADDING, Ids, Windows, taken_rows
from pipeline.metrics.ranking import rank_of_targets
from pipeline.models.backbones.base import last_states
from pipeline.models.injected import InjectedItems
from pipeline.setup.artifacts import SetUp

STRENGTH = 2.0
"""Weight of the vector before, as so many windows."""

PSEUDO = 2.0
"""Weight of all pseudo-contexts of an item together, as so many windows."""

PLACE = 20
"""Place among the items of set-up that a window wants for its item."""

NEIGHBOURS, OF_NEIGHBOUR = 10, 8
"""Nearest items by text, and newest windows of each, that give pseudo-contexts."""

ROWS = 1_024
"""Windows encoded together."""


@dataclass(frozen=True)
class Contexts:
    """Windows that call for an item.

    Attributes:
        states: (k, d) last states.
        wanted: (k,) logits.
        weights: (k,) numbers of windows that each stands for.
    """

    states: Array
    wanted: Array
    weights: Array

    def joined(self, other: "Contexts") -> "Contexts":
        """These windows and others."""
        return Contexts(
            np.concatenate([self.states, other.states]),
            np.concatenate([self.wanted, other.wanted]),
            np.concatenate([self.weights, other.weights]),
        )

    def pull(self, vector: Array, inverse: Array) -> tuple[Array, Array]:
        """Solve for one item.

        Args:
            vector: (d,) of before.
            inverse: (d, d) inverse of the second moment of set-up states.

        Returns:
            The (d,) solution, and the (k,) logit that each window would have without its own pull (leave one out).
        """
        moved = self.states @ inverse
        gram = np.linalg.inv(moved @ self.states.T + STRENGTH * len(vector) * np.diag(1.0 / self.weights))
        pulls = gram @ (self.wanted - self.states @ vector)
        return vector + moved.T @ pulls, self.wanted - pulls / np.diag(gram)


class SetUpContexts:
    """Set-up windows as contexts: their states, and the logits that their targets reach.

    Args:
        setup: its newest windows and the vectors of its items.
        workspace: prepared for no edit, so that items of set-up have the texts of set-up.
    """

    def __init__(self, setup: SetUp, workspace: Workspace) -> None:
        contexts, targets = setup.newest
        table = workspace.host.vectors(None)[: len(setup.catalogue) + 1]
        self._vectors = table.cpu().double().numpy().copy()
        states = last_states_of(workspace, contexts)
        reached = np.einsum("nd,nd->n", states, self._vectors[targets])
        self._contexts = Contexts(states, np.minimum(reached, self.wanted(states)), np.ones(len(states)))
        self._windows_of = {int(row): np.flatnonzero(targets == row)[-OF_NEIGHBOUR:] for row in np.unique(targets)}
        self._rows = np.array(sorted(self._windows_of), dtype=np.int64)
        self._texts = unit(setup.catalogue.vectors[self._rows - 1].astype(np.float64))

    @cached_property
    def inverse(self) -> Array:
        """(d, d) inverse of the second moment of the states, C^-1."""
        states = self._contexts.states
        moment: Array = states.T @ states
        moment /= max(len(states), 1)
        ridge = 1e-6 * max(float(np.trace(moment)), 1e-6) / len(moment)
        inverse: Array = np.linalg.inv(moment + ridge * np.eye(len(moment))).astype(np.float64)
        return inverse

    def wanted(self, states: Array) -> Array:
        """(n,) logit of the item at place `PLACE` of set-up's items, for (n, d) states."""
        place = min(PLACE, len(self._vectors) - 1)
        found = np.empty(len(states))
        for start in range(0, len(states), ROWS):
            logits = states[start : start + ROWS] @ self._vectors[1:].T
            found[start : start + ROWS] = np.partition(logits, -place, axis=1)[:, -place]
        return found

    def near(self, text: NDArray[np.float32]) -> Contexts | None:
        """Pseudo-contexts of a (t,) text embedding; None without a text."""
        if not len(self._rows) or not text.any():
            return None
        cosines = self._texts @ unit(text.astype(np.float64)[None])[0]
        nearest = self._rows[np.argsort(-cosines, kind="stable")[:NEIGHBOURS]]
        windows = np.concatenate([self._windows_of[row] for row in nearest.tolist()])
        found = self._contexts
        weights = np.full(len(windows), PSEUDO / len(windows))
        return Contexts(found.states[windows], found.wanted[windows], weights)


@dataclass(frozen=True)
class Injected:
    """Result of an injection.

    Attributes:
        items: new vectors.
        left_out: logit of the item after each window, without the window's own pull, by event id.
    """

    items: InjectedItems
    left_out: Mapping[str, float]


class Injector:
    """Output vectors of new items, and their validation.

    Args:
        setup: backbone and set-up windows.
        workspace: of the edits.
    """

    def __init__(self, setup: SetUp, workspace: Workspace) -> None:
        self._setup, self._workspace = setup, workspace
        self._setup_contexts: SetUpContexts | None = None

    def prepare(self) -> None:
        """Encode the windows of set-up, once; the workspace is prepared for no edit."""
        if self._setup_contexts is None:
            self._workspace.clear()
            self._setup_contexts = SetUpContexts(self._setup, self._workspace)

    def inject(self, edit: Edit, windows: Windows, incumbent: InjectedItems) -> Injected:
        """New vectors of an edit's items; those without text and windows are left out.

        Args:
            edit: gives the items.
            windows: that preceded them.
            incumbent: injected items in force.
        """
        catalogue, before = self._workspace.catalogue, dict(zip(incumbent.items, incumbent.vectors, strict=True))
        states = last_states_of(self._workspace, windows.contexts)
        wanted = self._of_setup.wanted(states)
        vectors = self._workspace.host.vectors(None)
        found: dict[str, NDArray[np.float32]] = {}
        left_out = np.full(len(windows), np.nan)
        for item_id in edit.items:
            row = catalogue.row_of[item_id]
            own = np.flatnonzero(windows.targets == row)
            contexts = Contexts(states[own], wanted[own], np.ones(len(own)))
            start = before.get(item_id)
            if start is None:
                near = self._of_setup.near(catalogue.vectors([row])[0])
                contexts = contexts if near is None else near.joined(contexts)
                start = vectors[row].cpu().numpy()
            if len(contexts.weights):
                pulled, logits = contexts.pull(start.astype(np.float64), self._of_setup.inverse)
                found[item_id], left_out[own] = pulled.astype(np.float32), logits[len(logits) - len(own) :]
        items = InjectedItems(tuple(found), _stacked(found.values(), vectors.shape[1]))
        return Injected(items, dict(zip(windows.event_ids.tolist(), left_out.tolist(), strict=True)))

    def compare(
        self, windows: Windows, before: InjectedItems, after: InjectedItems, left_out: Mapping[str, float]
    ) -> ValidationResult:
        """Compare the logs of the targets' ranks under the backbone.

        Args:
            windows: that judge.
            before: injected items in force.
            after: injected items of the candidate.
            left_out: logit of the target without the pull of its own window, for windows that `after` has learned.
        """
        states = last_states_of(self._workspace, windows.contexts)
        ranks = (self._log_ranks(states, windows, *injected) for injected in ((before, {}), (after, left_out)))
        return ValidationResult.paired("log_rank", *ranks)

    def _log_ranks(
        self, states: Array, windows: Windows, injected: InjectedItems, left_out: Mapping[str, float]
    ) -> Array:
        """(n,) logs of ranks among the items of the edit and all injected ones, for (n, d) states."""
        row_of = self._workspace.catalogue.row_of
        table = self._workspace.host.vectors(None).cpu().double().numpy().copy()
        rows, vectors = injected.known(row_of)
        table[rows] = vectors
        others = [place for place, item_id in enumerate(injected.items) if item_id not in row_of]
        scores = states @ np.concatenate([table, injected.vectors[others]]).T
        scores[:, PADDING] = -np.inf
        for place, (event_id, target) in enumerate(zip(windows.event_ids, windows.targets, strict=True)):
            scores[place, target] = left_out.get(event_id, scores[place, target])
        ranks: Array = np.log(rank_of_targets(scores, windows.targets, taken_rows(windows.contexts)))
        return ranks

    @property
    def _of_setup(self) -> SetUpContexts:
        assert self._setup_contexts is not None
        return self._setup_contexts


@torch.inference_mode()
def last_states_of(workspace: Workspace, contexts: Ids) -> Array:
    """(n, d) last states of the backbone for (n, length) windows, in double precision."""
    batches = [contexts[i : i + ROWS] for i in range(0, len(contexts), ROWS)]
    found = [last_states(workspace.host.states(batch, None)).cpu().double().numpy() for batch in batches]
    return np.concatenate(found) if found else np.zeros((0, workspace.host.vectors(None).shape[1]))


def unit(vectors: Array) -> Array:
    """(n, t) vectors of unit length; zeros stay."""
    unit_vectors: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit_vectors


def _stacked(vectors: Iterable[NDArray[np.float32]], width: int) -> NDArray[np.float32]:
    rows: Sequence[NDArray[np.float32]] = list(vectors)
    return np.stack(rows) if rows else np.zeros((0, width), dtype=np.float32)
