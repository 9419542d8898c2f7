"""Checkpoint of the training in set-up: after a kill it goes on from the last whole epoch, to the same bytes.

A checkpoint is one safetensors file: weights in training, those of the best epoch, state of the optimiser and of all
random generators; its metadata hold the number of epochs, the recalls, and a hash of what the training depends on.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.build_info import versions
from pipeline.config import Config
from pipeline.errors import DataError
from pipeline.events.windows import Windows
from pipeline.models.backbones.base import Backbone, fingerprint
from pipeline.models.placement import Placement
from pipeline.setup.teacher import Teacher

FILE = "training.safetensors"


@dataclass
class Progress:
    """Early stopping so far.

    Attributes:
        recalls: held-out Recall@10 of each epoch.
        best: trained weights of the epoch of highest recall, by name.
    """

    recalls: list[float] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)


class TrainingCheckpoint:
    """See `pipeline.models.training.loop.Checkpoints`.

    Args:
        folder: of the checkpoint; made when there is something to save.
        identity: hash of what the training depends on, see `identity_of`.
        trained: parameters in training, by name.
        progress: of the same training; restored in place.
    """

    def __init__(self, folder: Path, identity: str, trained: Mapping[str, nn.Parameter], progress: Progress) -> None:
        self._path, self._identity = folder / FILE, identity
        self._trained, self._progress = trained, progress

    def restore(self, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> int:
        """See `Checkpoints.restore`.

        Raises:
            DataError: the file cannot be read, or is of a training with other settings, data, teacher or
                packages.
        """
        if not self._path.exists():
            return 0
        facts, tensors = self._read()
        if facts.get("identity") != self._identity:
            raise DataError(
                f"{self._path} is the checkpoint of a set-up with other settings, data, teacher or package versions: "
                f"go on with those, or remove {self._path.parent} to begin anew"
            )
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(tensors[f"weights.{name}"])
        device = next(iter(self._trained.values())).device
        self._progress.recalls[:] = json.loads(facts["recalls"])
        self._progress.best = {name: tensors[f"best.{name}"].to(device) for name in self._trained}
        _restore_optimizer(optimizer, tensors)
        _set_random_states(tensors, generator, device)
        return int(facts["epoch"])

    def save(self, epoch: int, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
        """See `Checkpoints.save`: the file is replaced at once, so that a kill leaves the old or the new one.

        Raises:
            OSError: it cannot be written.
        """
        device = next(iter(self._trained.values())).device
        tensors = {f"weights.{name}": parameter.detach() for name, parameter in self._trained.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._progress.best.items()}
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        tensors |= _random_states(generator, device)
        facts = {"identity": self._identity, "epoch": str(epoch), "recalls": json.dumps(self._progress.recalls)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, draft, facts)
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(self._path)

    def _read(self) -> tuple[dict[str, str], dict[str, Tensor]]:
        try:
            with safe_open(self._path, framework="pt") as file:
                names = file.keys()
                return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in names}
        except (OSError, SafetensorError) as error:
            raise DataError(
                f"{self._path} cannot be read ({error}): remove {self._path.parent} to begin the set-up anew"
            ) from error


def identity_of(
    config: Config,
    placement: Placement,
    backbone: Backbone,
    windows: list[Windows],
    seed: int,
    teacher: Teacher | None = None,
) -> str:
    """Hash of everything that the weights after a number of epochs depend on.

    Args:
        config: sections `backbone`, `setup`, `softmax`, `windows`, `replay`.
        placement: of the training.
        backbone: before its first step.
        windows: to learn, and for early stopping.
        seed: of all random draws.
        teacher: from which the backbone is distilled; None without one.
    """
    sections = {name: getattr(config, name).model_dump() for name in ("backbone", "setup", "softmax", "windows")}
    start, packages = fingerprint(backbone, type(backbone).__name__), versions()
    facts = {"batch": config.replay.score_batch, "start": start, "seed": seed, "versions": packages}
    digest = sha256(json.dumps([sections, placement.to_record(), facts], sort_keys=True).encode())
    for _, tensor in sorted(backbone.item_texts().items()):
        digest.update(tensor.numpy().tobytes())
    for some in windows:
        digest.update(some.contexts.tobytes() + some.targets.tobytes())
    if teacher is not None:
        digest.update(teacher.identity().encode())
    return digest.hexdigest()


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key in tensors:
        kind, _, rest = key.partition(".")
        if kind == "optimizer":
            number, _, name = rest.partition(".")
            state.setdefault(int(number), {})[name] = tensors[key]
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _random_states(generator: torch.Generator, device: torch.device) -> dict[str, Tensor]:
    """States of the generators that a training draws from."""
    states = {"random.order": generator.get_state(), "random.cpu": torch.get_rng_state()}
    accelerator: Any = getattr(torch, device.type)
    if device.type in ("cuda", "mps"):
        states["random.device"] = accelerator.get_rng_state()
    return states


def _set_random_states(tensors: Mapping[str, Tensor], generator: torch.Generator, device: torch.device) -> None:
    generator.set_state(tensors["random.order"])
    torch.set_rng_state(tensors["random.cpu"])
    if device.type in ("cuda", "mps"):
        accelerator: Any = getattr(torch, device.type)
        accelerator.set_rng_state(tensors["random.device"])
