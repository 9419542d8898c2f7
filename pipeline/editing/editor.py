"""Carrying an edit out: train or refit beside the incumbent, judge both on held-out windows, keep the better.

Nothing here knows a log or a store: an editor takes an edit, the windows it rests on and the current
regions, and returns what would change. Publishing is the trainer's business.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adapters_store import version_name
from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.events.edit import Edit, Evidence, Operation, Outcome, confidence_of, held_out
from pipeline.events.windows import Windows
from pipeline.metrics.ranking import rank_of_targets
from pipeline.models.lora.host import AdapterHost
from pipeline.models.training.loop import fit, known_rows
from pipeline.regions.bank import Posterior, RegionBank
from pipeline.regions.features import Encoded
from pipeline.regions.mixing import mixed_probabilities, next_item_probabilities
from pipeline.regions.origin_classifier import OriginModel, fit_origins
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.shape import Shape, moved, shape_of
from pipeline.regions.vmf import shares_among
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import softmax_rows

ADAPTER_WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""How far an adapter may be trusted."""

WindowsOf = Callable[[Sequence[Evidence]], Windows]
"""Reads the windows of evidence back from `gated`."""


@dataclass(frozen=True)
class ValidationResult:
    """How incumbent and candidate do on held-out windows; lower is better.

    Attributes:
        metric: `log_rank` (mean log of the target's rank) where answers are compared, `surprise` (mean negative
            log density) where only the boundary between set-up regions moves and the answers stay.
        windows: how many.
        before, after: means of the metric.
        error: standard error of their paired difference.
    """

    metric: str
    windows: int
    before: float
    after: float
    error: float

    def better(self, standard_errors: float) -> bool:
        """Whether the candidate beats the incumbent by more than so many standard errors."""
        return self.before - self.after > standard_errors * self.error

    def no_worse(self, standard_errors: float) -> bool:
        """Whether the candidate loses no more than so many standard errors."""
        return self.after - self.before <= standard_errors * self.error

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "metric": self.metric,
            "windows": self.windows,
            "before": self.before,
            "after": self.after,
            "error": self.error,
        }


@dataclass(frozen=True)
class Result:
    """What an edit comes to.

    Attributes:
        outcome: for the ledger.
        bank: the regions after it; as before where it was rejected.
        changed: regions that differ from before.
        adapter: name of the new adapter version, registered with the host and to be published, or None.
    """

    outcome: Outcome
    bank: RegionBank
    changed: tuple[Region, ...] = ()
    adapter: str | None = None


class Editor:
    """Carries edits out against one set-up.

    Attributes:
        host: holds the incumbents' adapters; a candidate is registered with it, and dropped if rejected.
        windows_of: reads the windows of evidence.
    """

    def __init__(self, setup: SetUp, config: Config, host: AdapterHost, windows_of: WindowsOf) -> None:
        self.host = host
        self.windows_of = windows_of
        self._setup = setup
        self._config = config

    def apply(self, edit: Edit, bank: RegionBank) -> Result:
        """Do what an edit asks for, and judge it.

        Args:
            edit: asks for it.
            bank: the current regions.

        Returns:
            The result; rejected where it does not beat the incumbent, or where the regions have moved on
            since the edit was decided.
        """
        stale = self._stale(edit, bank)
        if stale:
            return Result(self._outcome(edit, False, stale), bank)
        carry = {
            Operation.UPDATE: self._update,
            Operation.ADD: self._add,
            Operation.EXPAND: self._expand,
            Operation.MERGE: self._merge,
            Operation.RETIRE: self._retire,
        }[edit.operation]
        return carry(edit, bank)

    def _stale(self, edit: Edit, bank: RegionBank) -> str | None:
        if edit.operation is not Operation.UPDATE and edit.base_gate != bank.gate_version:
            return f"the gate moved on from version {edit.base_gate} to {bank.gate_version} since this was decided"
        if edit.operation is not Operation.ADD and bank[edit.region_id].version != edit.base_version:
            return f"region {edit.region_id} moved on from version {edit.base_version} since this was decided"
        return None

    def _update(self, edit: Edit, bank: RegionBank) -> Result:
        region = bank[edit.region_id]
        learned, judged = self._split(edit)
        name, cost = self._train(edit, region.version + 1, learned, region.adapter)
        shape = moved(region, self._encode(learned).means, self._config.edits.update_rate, self._quantile)
        adapter_weight = self._trust(name, judged, region.adapter_weight)
        after = bank.changed(
            replace(_reshaped(region, shape), version=region.version + 1, adapter=name, adapter_weight=adapter_weight)
        )
        validation = self._judge(judged, bank, after)
        return self._published_if(
            validation.better(confidence_of(edit, self._config.edits)), edit, bank, after, validation, name, cost
        )

    def _add(self, edit: Edit, bank: RegionBank) -> Result:
        learned, judged = self._split(edit)
        encoded = self._encode(learned)
        parent = self._parent(bank, bank.posterior(encoded))
        name, cost = self._train(edit, 1, learned, parent.adapter if parent else None)
        shape = shape_of(encoded.means, self._quantile)
        region = Region(
            edit.region_id,
            1,
            Status.LIVE,
            Origin.STREAM,
            parent.region_id if parent else None,
            shape.centroid,
            shape.radius,
            shape.concentration,
            len(learned) / max(edit.at_event, 1),
            name,
            edit.at_event,
            self._trust(name, judged, parent.adapter_weight if parent else None),
        )
        samples = {**self._samples(edit.samples), edit.region_id: encoded}
        after = bank.changed(region).rebound(self._refit(samples))
        validation = self._judge(judged, bank, after)
        if parent:
            grown = bank.changed(
                replace(parent, version=parent.version + 1, adapter=name, adapter_weight=region.adapter_weight)
            )
            if not self._judge(judged, grown, after).better(self._config.edits.confidence):
                return self._instead(edit, bank, grown, parent, judged, name, cost)
        return self._published_if(
            validation.better(confidence_of(edit, self._config.edits)), edit, bank, after, validation, name, cost
        )

    def _instead(
        self, edit: Edit, bank: RegionBank, grown: RegionBank, parent: Region, judged: Windows, name: str, cost: int
    ) -> Result:
        """A region more must be earned: where its parent, taught the same, does as well, that is what is published."""
        validation = self._judge(judged, bank, grown)
        renamed = version_name(parent.region_id, parent.version + 1)
        self.host.register(renamed, self.host.tensors(name), self.host.rows(name))
        self.host.drop(name)
        after = bank.changed(replace(grown[parent.region_id], adapter=renamed))
        result = self._published_if(validation.better(0.0), edit, bank, after, validation, renamed, cost)
        outcome = replace(
            result.outcome,
            operation=Operation.UPDATE,
            region_id=parent.region_id,
            detail=f"no region is opened: its parent, region {parent.region_id}, does as well with the same training; "
            + result.outcome.detail,
        )
        return replace(result, outcome=outcome)

    def _expand(self, edit: Edit, bank: RegionBank) -> Result:
        learned, judged = self._split(edit)
        if edit.other_region_id is not None:
            after = self._moved_boundary(edit, bank, self._encode(learned).means)
            validation = self._judge_fit(judged, bank, after)
        else:
            unseen = set(judged.event_ids.tolist())
            samples = self._samples([e for e in edit.samples if e.event_id not in unseen])
            after = bank.rebound(self._refit(samples))
            validation = self._judge(judged, bank, after)
        return self._published_if(
            validation.better(confidence_of(edit, self._config.edits)), edit, bank, after, validation, None, 0
        )

    def _merge(self, edit: Edit, bank: RegionBank) -> Result:
        kept, gone = bank[edit.region_id], bank[_other(edit)]
        judged = self.windows_of(edit.windows)
        share = gone.prior / max(kept.prior + gone.prior, 1e-12)
        mean = (1.0 - share) * kept.centroid + share * gone.centroid
        shape = Shape(
            mean / np.linalg.norm(mean), max(kept.radius, gone.radius), min(kept.concentration, gone.concentration)
        )
        grown = replace(_reshaped(kept, shape), version=kept.version + 1, prior=kept.prior + gone.prior)
        after = bank.changed(grown, replace(gone, version=gone.version + 1, status=Status.MERGED))
        samples = self._samples(edit.samples, {gone.region_id: kept.region_id})
        after = after.rebound(self._refit(samples) if gone.adapter else bank.origins)
        validation = self._judge(judged, bank, after)
        return self._published_if(
            validation.no_worse(self._config.edits.confidence), edit, bank, after, validation, None, 0
        )

    def _retire(self, edit: Edit, bank: RegionBank) -> Result:
        region = bank[edit.region_id]
        after = bank.changed(replace(region, version=region.version + 1, status=Status.RETIRED))
        samples = self._samples([e for e in edit.samples if e.region_id != edit.region_id])
        after = after.rebound(self._refit(samples) if region.adapter else bank.origins)
        detail = f"region {region.region_id} takes part in no answer any more; its versions stay in the store"
        return self._result(edit, True, detail, bank, after, None, None, 0)

    def _encode(self, windows: Windows) -> Encoded:
        return self._setup.view(self.host.states(windows.contexts, None), windows.contexts, windows.since_setup)

    @property
    def _quantile(self) -> float:
        return self._config.setup.radius_quantile

    def _split(self, edit: Edit) -> tuple[Windows, Windows]:
        """Windows to learn from, and those to be judged on."""
        windows = self.windows_of(edit.windows)
        judged = held_out(edit.reason, len(windows), self._config.edits)
        return windows[~judged], windows[judged]

    def _train(self, edit: Edit, version: int, windows: Windows, parent: str | None) -> tuple[str, int]:
        """Register and train a new adapter version; its name and the windows it was trained on."""
        name, training = version_name(edit.region_id, version), self._config.training
        rows = known_rows(windows.contexts, windows.targets)
        self.host.create(name, rows.tolist(), parent=parent, seed=edit.seed)
        with self.host.active(name) as model:
            groups = self.host.parameter_groups(name, training.learning_rate, training.row_learning_rate)
            every = np.arange(1, len(self._setup.catalogue) + 1)
            cost = fit(
                model,
                windows,
                groups,
                softmax_rows(self._config, every),
                epochs=edit.passes or training.epochs,
                batch_size=training.batch_size,
                seed=edit.seed,
                epsilon=training.epsilon,
            )
        return name, cost

    def _trust(self, name: str, judged: Windows, before: float | None) -> float:
        """How far to trust an adapter: the mixture with the backbone that makes held-out targets likeliest.

        A few dozen windows say little, so the region's trust so far has a say too.
        """
        probabilities = [
            next_item_probabilities(self.host, judged.contexts, adapter).numpy()[np.arange(len(judged)), judged.targets]
            for adapter in (None, name)
        ]
        static, adapted = np.maximum(probabilities, 1e-12)
        fit = [float(np.log(t * adapted + (1.0 - t) * static).mean()) for t in ADAPTER_WEIGHTS]
        best = ADAPTER_WEIGHTS[int(np.argmax(fit))]
        return best if before is None else (before + best) / 2.0

    def _parent(self, bank: RegionBank, posterior: Posterior) -> Region | None:
        """The opened region that the windows look most like, if they look like one at all."""
        if not bank.opened:
            return None
        shares = posterior.probabilities[:, -len(bank.opened) :].mean(axis=0)
        best = int(shares.argmax())
        return bank.opened[best] if shares[best] >= self._config.gate.floor else None

    def _samples(self, evidence: Sequence[Evidence], renamed: dict[int, int] | None = None) -> dict[int, Encoded]:
        """What the gate sees of each opened region's evidence."""
        by_region: dict[int, list[Evidence]] = {}
        for e in evidence:
            by_region.setdefault((renamed or {}).get(e.region_id, e.region_id), []).append(e)
        return {region_id: self._encode(self.windows_of(found)) for region_id, found in by_region.items()}

    def _refit(self, samples: dict[int, Encoded]) -> OriginModel:
        """Tell set-up and each opened region apart anew."""
        origins, setup = sorted(samples), self._setup
        if not origins:
            return setup.bank.origins
        usual = np.maximum(_shares(setup.bank.setup, setup.encoded), 1e-9)
        coverage = np.minimum([_shares(setup.bank.setup, samples[i]) / usual for i in origins], 1.0)
        known = [setup.encoded, *(samples[i] for i in origins)]
        return fit_origins(origins, known, coverage, [1.0, *(coverage @ usual)], self._config.gate.penalty)

    def _moved_boundary(self, edit: Edit, bank: RegionBank, means: Array) -> RegionBank:
        """Two set-up regions take in what lies between them: their priors follow, or their shapes too if that fits."""
        rate, shares = self._config.edits.expand_rate, edit.reason["shares"]
        pair = [bank[edit.region_id], bank[_other(edit)]]
        near = (means @ np.stack([r.centroid for r in pair]).T).argmax(axis=1)
        priors = [
            replace(r, version=r.version + 1, prior=(1.0 - rate) * r.prior + rate * shares[str(r.region_id)])
            for r in pair
        ]
        shapes = []
        for place, region in enumerate(priors):
            mine = means[near == place]
            shape = moved(region, mine, rate * len(mine) / len(near), self._quantile) if len(mine) else region
            shapes.append(_reshaped(region, shape))
        candidates = [bank.changed(*changed) for changed in (priors, shapes)]
        return max(candidates, key=lambda c: float(c.log_likelihood(means).mean())).rebound(bank.origins)

    def _judge(self, windows: Windows, before: RegionBank, after: RegionBank) -> ValidationResult:
        """Compare the answers by the log of the rank that they give the target: every place counts, none too much."""
        return _paired("log_rank", self._log_ranks(windows, before), self._log_ranks(windows, after))

    def _judge_fit(self, windows: Windows, before: RegionBank, after: RegionBank) -> ValidationResult:
        """Compare how well the regions describe the windows; the answers are the backbone's either way."""
        means = self._encode(windows).means
        return _paired("surprise", -before.log_likelihood(means), -after.log_likelihood(means))

    def _log_ranks(self, windows: Windows, bank: RegionBank) -> Array:
        """(n,) log of the target's rank in the mixed answer."""
        ranks = []
        for start in range(0, len(windows), self._config.replay.score_batch):
            batch = windows[slice(start, start + self._config.replay.score_batch)]
            route = bank.posterior(self._encode(batch)).route(self._config.gate.floor)
            answer = mixed_probabilities(self.host, batch.contexts, bank.shares(route), bank.adapters)
            ranks.append(rank_of_targets(answer.numpy(), batch.targets, batch.contexts))
        return np.log(np.concatenate(ranks))

    def _published_if(
        self,
        accepted: bool,
        edit: Edit,
        before: RegionBank,
        after: RegionBank,
        validation: ValidationResult,
        name: str | None,
        cost: int,
    ) -> Result:
        verdict = "better than" if accepted else "not clearly better than"
        detail = (
            f"{validation.metric} {validation.after:.4f} against {validation.before:.4f} (difference's standard error "
            f"{validation.error:.4f}) on {validation.windows} held-out windows: {verdict} the incumbent"
        )
        if not accepted and name:
            self.host.drop(name)
        return self._result(edit, accepted, detail, before, after if accepted else before, validation, name, cost)

    def _result(
        self,
        edit: Edit,
        published: bool,
        detail: str,
        before: RegionBank,
        after: RegionBank,
        validation: ValidationResult | None,
        name: str | None,
        cost: int,
    ) -> Result:
        old = {r.region_id: r for r in before.regions}
        changed = tuple(r for r in after.regions if old.get(r.region_id) is not r)
        adapter = name if published else None
        record = validation.to_record() if validation else None
        outcome = replace(
            self._outcome(edit, published, detail),
            version=adapter,
            validation=record,
            trained_windows=cost,
            moved_windows=self._moved(edit, before, after),
        )
        return Result(outcome, after, changed, adapter)

    def _moved(self, edit: Edit, before: RegionBank, after: RegionBank) -> float | None:
        """Share of an edit's windows whose region is another than before; None where no boundary moved."""
        if after.gate_version == before.gate_version or not edit.windows:
            return None
        encoded = self._encode(self.windows_of(edit.windows))
        return float((before.posterior(encoded).tops != after.posterior(encoded).tops).mean())

    @staticmethod
    def _outcome(edit: Edit, published: bool, detail: str) -> Outcome:
        return Outcome(edit.edit_id, edit.operation, edit.region_id, published, detail)


def _other(edit: Edit) -> int:
    if edit.other_region_id is None:
        raise ValueError(f"{edit.operation} {edit.edit_id} concerns two regions, but names one")
    return edit.other_region_id


def _reshaped(region: Region, shape: Shape | Region) -> Region:
    return replace(region, centroid=shape.centroid, radius=shape.radius, concentration=shape.concentration)


def _paired(metric: str, before: Array, after: Array) -> ValidationResult:
    difference = before - after
    error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else float("inf")
    return ValidationResult(metric, len(before), float(before.mean()), float(after.mean()), error)


def _shares(regions: Sequence[Region], windows: Encoded) -> Array:
    """(k,) share of windows that each region is the likeliest for."""
    likeliest = shares_among(regions, windows.means).argmax(axis=1)
    shares: Array = np.bincount(likeliest, minlength=len(regions)) / len(windows)
    return shares
