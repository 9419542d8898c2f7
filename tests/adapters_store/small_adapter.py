"""A small adapter to publish."""

from typing import Any

import numpy as np

BACKBONE = "b" * 64
NAME = "r0003_v0007"


def tensors(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    names = [f"layers.{layer}.{module}.lora_{half}" for layer in range(2) for module in ("q", "v") for half in "AB"]
    return {name: rng.standard_normal((8, 64)).astype(np.float32) for name in names}


def fields(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "region_id": 3,
        "version": 7,
        "tensors": tensors(),
        "config": {"r": 8, "lora_alpha": 16, "target_modules": ["v", "q"]},
        "backbone_sha256": BACKBONE,
        "edit_id": "e1",
        "parent": "r0003_v0006",
        "rank": 8,
        "targets": ["v", "q"],
        "seed": 1,
        "before": {"recall@10": 0.1},
        "after": {"recall@10": 0.2},
    }
    return known | changes
