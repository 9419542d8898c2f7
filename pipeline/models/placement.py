"""Placement of a backbone: the device that computes, precision and quantisation of its frozen weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Self

import torch

from pipeline.config import ComputeSettings
from pipeline.errors import ConfigError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Precision by its name in the configuration."""

AUTO = "auto"

NONE, INT8 = "none", "int8"
"""Quantisations of the linear layers."""

PACKAGE, REMEDY = "torchao", "install it: pip install 'raie-stream[int8]'"
"""Package that quantises."""

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
        quantization: of the weights of its linear layers once they are frozen; these compute in `precision`.
    """

    device: torch.device
    precision: torch.dtype
    quantization: str = NONE

    @classmethod
    def of_new(cls, settings: ComputeSettings, kind: str) -> Self:
        """Placement of a backbone that set-up is about to train.

        Args:
            settings: what is asked for.
            kind: of the backbone; only a `causal_lm` gets bfloat16 without being asked.

        Raises:
            ConfigError: there is no such device, or the package that quantises is missing.
        """
        device = _device(next(filter(_number, KINDS)) if settings.device == AUTO else settings.device)
        quantization = NONE if settings.quantization == AUTO else settings.quantization
        if problem := _missing_package(quantization):
            raise ConfigError([problem])
        if settings.precision != AUTO:
            return cls(device, PRECISIONS[settings.precision], quantization)
        is_native = kind == "causal_lm" and computes_bfloat16(device)
        return cls(device, torch.bfloat16 if is_native else torch.float32, quantization)

    @classmethod
    def of_stored(cls, settings: ComputeSettings, made: Mapping[str, str], origin: str) -> Self:
        """Placement of the backbone of a set-up, made on one kind of device in one precision and quantisation.

        Args:
            settings: what is asked for.
            made: as `to_record` gave it; the quantisation may be missing.
            origin: names the set-up, for the message.

        Raises:
            ConfigError: something else is asked for, or this machine has no such device or package.
        """
        made = {"quantization": NONE, **made}
        device = made["device"] if settings.device == AUTO else settings.device
        kind = device.partition(":")[0]
        asked = {"device": kind, "precision": settings.precision, "quantization": settings.quantization}
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
        problems += [problem] if (problem := _missing_package(made["quantization"])) else []
        if problems:
            raise ConfigError(problems)
        return cls(_device(device), PRECISIONS[made["precision"]], made["quantization"])

    def to_record(self) -> dict[str, str]:
        """Kind of device, precision and, where there is one, quantisation, as a JSON object."""
        precision = next(name for name, dtype in PRECISIONS.items() if dtype == self.precision)
        quantization = {} if self.quantization == NONE else {"quantization": self.quantization}
        return {"device": self.device.type, "precision": precision, **quantization}


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


def _missing_package(quantization: str) -> str:
    """Problem of a quantisation whose package is not installed, "" where there is none."""
    if quantization == NONE or find_spec(PACKAGE) is not None:
        return ""
    return f"compute.quantization: {quantization}, and the package {PACKAGE} is not installed; {REMEDY}"


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
