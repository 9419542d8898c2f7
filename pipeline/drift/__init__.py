"""Drift detectors: when a stream of scores stops looking like its own past."""

from pipeline.drift.binary import BinaryDetector
from pipeline.drift.conformal import ConformalDetector
from pipeline.drift.detector import DriftDetector
from pipeline.drift.factory import build_detector

__all__ = ["BinaryDetector", "ConformalDetector", "DriftDetector", "build_detector"]
