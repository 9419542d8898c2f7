"""Drift detectors: they alarm when the values of a stream rise above its past."""

from pipeline.drift.binary import BinaryDetector
from pipeline.drift.conformal import ConformalDetector
from pipeline.drift.detector import DriftDetector
from pipeline.drift.factory import build_detector

__all__ = ["BinaryDetector", "ConformalDetector", "DriftDetector", "build_detector"]
