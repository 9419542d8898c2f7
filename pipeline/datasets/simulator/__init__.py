"""Simulated logs whose drifts are known."""

from pipeline.datasets.simulator.scenarios import SCENARIOS
from pipeline.datasets.simulator.simulate import Simulation, simulate, write

__all__ = ["SCENARIOS", "Simulation", "simulate", "write"]
