"""Drift detectors: when a stream of scores stops looking like its own past."""

from pipeline.drift.base import DriftDetector
from pipeline.drift.binary import BinaryDetector
from pipeline.drift.conformal import ConformalDetector
from pipeline.drift.registry import build_detector

__all__ = ["BinaryDetector", "ConformalDetector", "DriftDetector", "build_detector"]
