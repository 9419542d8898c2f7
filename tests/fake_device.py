"""A second device on a machine that has none: tensors that say they lie elsewhere, and compute on the CPU.

A tensor of the fake device holds one of the CPU. An operation on both kinds fails, as it does on a GPU, and so does
reading such a tensor as an array. Random draws and arithmetic are those of the CPU, so that a run on the fake device
has to give the same bits as one on the CPU.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from pipeline.config import ComputeSettings, Config

KIND = "meta"

MOVES = ("to", "_to_copy", "copy_", "_local_scalar_dense", "set_", "record_stream")
"""Operations that may read one device and write another."""

INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_")
"""Operations whose index may lie on the CPU, as torch allows for every device."""


class _OnDevice(Tensor):
    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "_OnDevice":
        layout = {} if inner.layout == torch.strided else {"layout": inner.layout}
        if inner.layout == torch.strided:
            layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        made = Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device="meta", **layout)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})

    __torch_function__ = torch._C._disabled_torch_function_impl

    @property
    def device(self) -> torch.device:
        # Not equal to torch.device("meta"), which peft takes for weights that are still to be loaded.
        return torch.device(KIND, 0)

    @property
    def is_meta(self) -> bool:
        return False

    def tolist(self) -> Any:
        return self.inner.tolist()

    # As a list, an index would become a meta tensor without content.
    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_index(index), value)

    @property
    def data(self) -> Tensor:
        return _OnDevice(self.inner.detach())

    @data.setter
    def data(self, value: "_OnDevice") -> None:
        Tensor.data.__set__(self, value)
        self.inner = value.inner


def _index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    return torch.as_tensor(index) if isinstance(index, list | np.ndarray) else index


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


def _compute(func: Any, args: Any, kwargs: Any) -> Any:
    name = func._schema.name.partition("::")[2]
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    on_device = any(isinstance(tensor, _OnDevice) for tensor in tensors)
    device = kwargs.get("device")
    if on_device and name not in MOVES:
        judged = [args[0]] if name in INDEXED else tensors
        left = [t for t in judged if not isinstance(t, _OnDevice) and t.dim() and t.numel()]
        assert not left, f"{name}: a tensor of {tuple(left[0].shape)} was left on the CPU"
    to_device = on_device if device is None else torch.device(device).type == KIND
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    inner = tree_map(lambda value: value.inner if isinstance(value, _OnDevice) else value, (args, kwargs))
    with torch.no_grad(), _disable_current_modes():
        found = func(*inner[0], **inner[1])
    if name == "copy_":
        return args[0]
    given = {id(value.inner): value for value in tensors if isinstance(value, _OnDevice)}
    return tree_map(lambda value: _wrapped(value, given, to_device), found)


def _wrapped(value: Any, given: dict[int, Tensor], to_device: bool) -> Any:
    if not isinstance(value, Tensor) or not to_device:
        return value
    if id(value) in given:
        return given[id(value)]
    return _OnDevice(value)


@contextmanager
def fake_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with a device of the kind `KIND` until the context ends."""
    monkeypatch.setattr("pipeline.models.placement._number", lambda _: 1)
    # The optimiser knows by name the devices that have its fused step.
    monkeypatch.setattr(sys.modules["torch.optim.adam"], "_device_dtype_check_for_fused", lambda *_: None)
    # Tensors of inference mode cannot have Python's own subclasses as views.
    monkeypatch.setattr(torch.inference_mode, "__enter__", _without_gradients)
    # Given a list, torch makes a meta tensor without content and asks no mode.
    monkeypatch.setattr(torch, "tensor", partial(_tensor, torch.tensor))
    with _Mode():
        yield


def _tensor(make: Callable[..., Tensor], data: object, *, device: torch.device | None = None, **kwargs: Any) -> Tensor:
    made = make(data, **kwargs)
    return made if device is None else made.to(device)


def _without_gradients(mode: torch.inference_mode) -> None:
    mode._inference_mode_context = torch.no_grad()
    mode._inference_mode_context.__enter__()


def on_fake_device(config: Config) -> Config:
    """The configuration with the fake device, which no user can ask for."""
    compute = ComputeSettings().model_copy(update={"device": KIND})
    return config.model_copy(update={"compute": compute})
