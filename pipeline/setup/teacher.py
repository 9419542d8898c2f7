"""Teacher of a refresh: the pipeline of an earlier set-up, as it answers windows at one moment.

Its answer is that of backbone and region adapters, mixed by the route of each window under the regions in force,
without origin prior and second stage. A window is encoded and routed once. Kept are its last state under each adapter
of its route and the log of that adapter's share, less that of its partition function; the probabilities of a batch
follow from these and the item vectors, for the rows of its softmax alone. So a window takes a few hundred numbers,
however many items there are.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Array
from pipeline.events.windows import PADDING, Ids, Windows, in_rows
from pipeline.models.backbones.base import last_states
from pipeline.models.catalogue import Catalogue
from pipeline.models.lora.host import AdapterHost
from pipeline.regions.bank import RegionBank
from pipeline.regions.features import GateView
from pipeline.regions.live import LiveRegions
from pipeline.setup.artifacts import SetUp

WEIGHT = 0.5
"""Weight of the teacher in the loss; the targets have the rest."""

TEMPERATURE = 1.0
"""Temperature of the distillation: a teacher mixes probabilities, and has no logits that another one would soften."""

TOGETHER = 256
"""Windows that are encoded together."""

FLOAT32 = INT32 = 4


@dataclass(frozen=True)
class Teacher:
    """Pipeline of an earlier set-up.

    Attributes:
        backbone_sha256: fingerprint of its backbone.
        view: its encoder of windows for the posterior.
        host: its backbone and the adapters in force; whatever region has another one is answered by the backbone.
        bank: the regions in force.
        floor: least posterior of a region that takes part.
        rows: (items + 1,) its row of every row of the new catalogue, 0 for an item that it has none of.
        exists: (rows + 1,) True for rows of its own that it may recommend.
        known: (items + 1,) True for rows of the new catalogue that it has an opinion about: items that exist and that
            its set-up, an adapter in force or an injection has learned. Of others it knows the text alone.
        since_setup: (n,) number of items taken since its own set-up, of each window that the new set-up is given.
    """

    backbone_sha256: str
    view: GateView
    host: AdapterHost
    bank: RegionBank
    floor: float
    rows: Ids
    exists: NDArray[np.bool_]
    known: NDArray[np.bool_]
    since_setup: Ids

    @classmethod
    def of(
        cls,
        setup: SetUp,
        live: LiveRegions,
        floor: float,
        row_of: Mapping[str, int],
        exists: NDArray[np.bool_],
        catalogue: Catalogue,
        since_setup: Ids,
    ) -> Self:
        """Teacher over another catalogue: items are the same where their ids are.

        Args:
            setup: the earlier set-up.
            live: its regions and adapters in force.
            floor: see `Teacher`.
            row_of: its row of every item, by id.
            exists: see `Teacher`.
            catalogue: of the new set-up.
            since_setup: see `Teacher`.
        """
        rows = np.array([PADDING, *(row_of.get(item_id, PADDING) for item_id in catalogue.item_ids)], dtype=np.int64)
        host, learned = live.host, np.zeros(len(exists), dtype=np.bool_)
        learned[: len(setup.counts)] = setup.counts > 0
        moved: list[Ids | list[int]] = [host.injected()[0], *(host.rows(name) for name in host.names)]
        for own in moved:
            learned[own] = True
        known = learned & exists
        return cls(setup.backbone_sha256, setup.view, host, live.bank, floor, rows, exists, known[rows], since_setup)

    def select(self, windows: NDArray[np.bool_] | Ids) -> "Teacher":
        """The teacher of some of the windows alone."""
        return replace(self, since_setup=self.since_setup[windows])

    @property
    def memory_bytes(self) -> int:
        """Bytes of its answers to the windows, at most."""
        parts, width = 1 + len(self.host.names), self.host.backbone.items.rows.weight.shape[1]
        routed, windows = min(parts, int(1 / self.floor)), len(self.since_setup)
        states, vectors = windows * routed * (width + 1), parts * len(self.exists) * width
        return int(FLOAT32 * (states + vectors) + INT32 * windows * parts)

    def identity(self) -> str:
        """Hash of everything that its answers depend on but the items of the windows, and of its place in the loss."""
        bank, host = self.bank, self.host
        facts = [region.to_record() for region in bank.regions], bank.origins.to_record(), bank.injection.to_record()
        settings = [self.backbone_sha256, self.floor, WEIGHT, TEMPERATURE, host.names]
        digest = sha256(json.dumps([settings, *facts], sort_keys=True).encode())
        for name in host.names:
            for key, tensor in sorted(host.tensors(name).items()):
                digest.update(f"{key}{tensor.shape}".encode() + tensor.tobytes())
            digest.update(np.array(host.rows(name), dtype=np.int64).tobytes())
        for _, texts in sorted(host.backbone.item_texts().items()):
            digest.update(texts.cpu().numpy().tobytes())
        for array in (*host.injected(), self.rows, self.exists, self.known, self.since_setup):
            digest.update(array.tobytes())
        return digest.hexdigest()

    def answer(self, windows: Windows, device: torch.device) -> "TeacherAnswers":
        """Encode and route the windows.

        Args:
            windows: all of them, in rows of the new catalogue.
            device: on which their answers are needed.
        """
        asked = in_rows(replace(windows, since_setup=self.since_setup), self.rows)
        parts: dict[str | None, list[_Part]] = {}
        for start in range(0, len(asked), TOGETHER):
            self._add(parts, start, asked[slice(start, start + TOGETHER)])
        by_adapter = [self._answers(name, of, len(asked), device) for name, of in parts.items()]
        rows, known = torch.from_numpy(self.rows).to(device), torch.from_numpy(self.known).to(device)
        return TeacherAnswers(rows, known, by_adapter)

    def _add(self, parts: dict[str | None, list["_Part"]], start: int, batch: Windows) -> None:
        """Add the parts of a batch, by adapter, whose first window has the number `start`."""
        states = self.host.states(batch.contexts, None)
        for name, share in self._shares(states, batch).items():
            chosen = np.flatnonzero(share > 0.0)
            if len(chosen):
                own = states[chosen] if name is None else self.host.states(batch.contexts[chosen], name)
                parts.setdefault(name, []).append(self._part(name, own, start + chosen, share[chosen]))

    def _shares(self, states: Tensor, batch: Windows) -> dict[str | None, Array]:
        """(n,) weight of the backbone, and of each adapter that is loaded, in the probabilities."""
        posterior = self.bank.posterior(self.view(states, batch.contexts, batch.since_setup))
        shares, loaded = self.bank.shares(posterior.route(self.floor)), set(self.host.names)
        found: dict[str | None, Array] = {}
        for column, wanted in enumerate(self.bank.adapters):
            name = wanted if wanted in loaded else None
            found[name] = found.get(name, np.zeros(len(shares))) + shares[:, column]
        return found

    @torch.inference_mode()
    def _part(self, name: str | None, states: Tensor, windows: Ids, share: Array) -> "_Part":
        logits = self.host.logits(states, name, len(self.exists) - 1)
        logits[:, torch.from_numpy(~self.exists).to(logits.device)] = -torch.inf
        weight = torch.from_numpy(np.log(share)).to(logits.device, torch.float32)
        return _Part(windows, last_states(states), weight - logits.logsumexp(dim=1))

    def _answers(self, name: str | None, parts: Sequence["_Part"], windows: int, device: torch.device) -> "_Answers":
        numbers = np.concatenate([part.windows for part in parts])
        place = np.full(windows, -1, dtype=np.int32)
        place[numbers] = np.arange(len(numbers))
        states, offsets = (torch.cat(of).to(device) for of in zip(*((p.states, p.offsets) for p in parts), strict=True))
        return _Answers(torch.from_numpy(place).to(device), states, offsets, self.host.output_vectors(name).to(device))


@dataclass(frozen=True)
class _Part:
    """Answers of one adapter to m windows of a batch: their numbers, (m, d) last states and (m,) `offsets`."""

    windows: Ids
    states: Tensor
    offsets: Tensor


@dataclass(frozen=True)
class _Answers:
    """Answers of one adapter.

    Attributes:
        place: (n,) position of each window in `states`, -1 for one without a share of the adapter.
        states: (m, d) last states.
        offsets: (m,) log share of the adapter in the answer, less the log of its partition function.
        vectors: (rows + 1, d) item vectors, by row of the teacher.
    """

    place: Tensor
    states: Tensor
    offsets: Tensor
    vectors: Tensor


class TeacherAnswers:
    """Answers of a teacher to n windows; see `SoftTargets`.

    Args:
        rows: (items + 1,) row of the teacher of every row of the new catalogue.
        known: (items + 1,) True for rows of the new catalogue that it has an opinion about.
        by_adapter: answers of backbone and adapters.
    """

    def __init__(self, rows: Tensor, known: Tensor, by_adapter: Sequence[_Answers]) -> None:
        self._rows, self._known, self._by_adapter = rows, known, by_adapter

    @torch.no_grad()
    def among(self, windows: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """See `SoftTargets.among`: logs of the mixed probabilities."""
        known = self._known[rows].nonzero().squeeze(1)
        theirs = self._rows[rows[known]]
        total = torch.full((len(windows), len(known)), -torch.inf, device=rows.device)
        for of in self._by_adapter:
            place = of.place[windows].long()
            held = (place >= 0).nonzero().squeeze(1)
            scores = of.states[place[held]] @ of.vectors[theirs].T + of.offsets[place[held], None]
            total[held] = torch.logaddexp(total[held], scores)
        return known, total
