"""Gated events for tests: all fields have defaults, and a test names those it is about."""

from typing import Any

from pipeline.events.gated import GatedEvent, OnlineFeatures

USUAL: dict[str, Any] = {
    "event_id": "e",
    "user_id": "u",
    "timestamp": 1.6e9,
    "target": "i1",
    "window": ["i1"],
    "earlier": [],
    "since_setup": 0,
    "cold": False,
    "region_id": 1,
    "setup_region": 1,
    "setup_rival": 2,
    "setup_margin": 1.0,
    "route": [],
    "confidence": 1.0,
    "margin": 1.0,
    "angle": 0.1,
    "opened": 0.0,
    "backbone_probability": 0.1,
    "loss": 1.0,
    "rarity": -1.0,
    "model_rank": 1,
    "rank": 1,
    "popularity_rank": 0,
    "gate_version": 0,
}


def gated_event(**changed: Any) -> GatedEvent:
    """An event with usual fields but for those named."""
    return GatedEvent(**{**USUAL, **changed})


def online(**changed: Any) -> OnlineFeatures:
    """Inputs of origin prior and second stage with usual values but for those named."""
    usual: dict[str, Any] = {"probability": 0.1, "setup_shares": [(0, 1.0)], "candidates": None}
    return OnlineFeatures(**{**usual, **changed})
