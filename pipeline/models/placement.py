"""Placement of a backbone: the device that computes, and the precision of its frozen weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch

from pipeline.config import ComputeSettings
from pipeline.errors import ConfigError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Precision by its name in the configuration."""

AUTO = "auto"

KINDS = ("cuda", "mps", "cpu")
"""Kinds of devices, the one that `auto` takes first at the front."""

AMPERE = (8, 0)
"""First compute capability of CUDA devices that multiply bfloat16."""


@dataclass(frozen=True)
class Placement:
    """Device and precision of a backbone.

    Results are the same bit for bit on one kind of device in one precision, and differ in last digits between them.

    Attributes:
        device: has all its tensors.
        precision: of its weights once they are frozen, all but those that make item vectors, which are float32.
    """

    device: torch.device
    precision: torch.dtype

    @classmethod
    def of_new(cls, settings: ComputeSettings, kind: str) -> Self:
        """Placement of a backbone that set-up is about to train.

        Args:
            settings: what is asked for.
            kind: of the backbone; only a `causal_lm` gets bfloat16 without being asked.

        Raises:
            ConfigError: there is no such device.
        """
        device = _device(next(filter(_number, KINDS)) if settings.device == AUTO else settings.device)
        if settings.precision != AUTO:
            return cls(device, PRECISIONS[settings.precision])
        return cls(device, torch.bfloat16 if kind == "causal_lm" and computes_bfloat16(device) else torch.float32)

    @classmethod
    def of_stored(cls, settings: ComputeSettings, made: Mapping[str, str], origin: str) -> Self:
        """Placement of the backbone of a set-up, which was made on one kind of device in one precision.

        Args:
            settings: what is asked for.
            made: as `to_record` gave it.
            origin: names the set-up, for the message.

        Raises:
            ConfigError: something else is asked for, or this machine has no such device.
        """
        device = made["device"] if settings.device == AUTO else settings.device
        asked = {"device": device.partition(":")[0], "precision": settings.precision}
        problems = [
            f"compute.{name}: {found} here, and {origin} was made with {made[name]}; set compute.{name}={made[name]}, "
            "or run `raie setup` again"
            for name, found in asked.items()
            if found not in (AUTO, made[name])
        ]
        if not _number(made["device"]):
            problems.append(
                f"compute.device: {origin} was made with {made['device']}, and torch sees none here; run where there "
                "is one, or run `raie setup` again"
            )
        if problems:
            raise ConfigError(problems)
        return cls(_device(device), PRECISIONS[made["precision"]])

    def to_record(self) -> dict[str, str]:
        """Kind of device and precision, as a JSON object."""
        precision = next(name for name, dtype in PRECISIONS.items() if dtype == self.precision)
        return {"device": self.device.type, "precision": precision}


ON_CPU = Placement(torch.device("cpu"), torch.float32)
"""Placement of every set-up that does not say its own."""


def computes_bfloat16(device: torch.device) -> bool:
    """True if a device multiplies bfloat16 natively, as far as torch can tell; emulation is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= AMPERE
    if device.type == "cpu":
        tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(getattr(torch.cpu, name, bool)() for name in tests)
    return False


def _number(kind: str) -> int:
    """Number of devices of a kind."""
    if kind == "cuda":
        return torch.cuda.device_count()
    return int(kind == "cpu" or torch.backends.mps.is_available())


def _device(name: str) -> torch.device:
    device = torch.device(name)
    number = _number(device.type)
    if (device.index or 0) >= number:
        raise ConfigError(
            [f"compute.device: {name}, and torch sees {number} such devices; set compute.device=cpu, or another"]
        )
    return device
