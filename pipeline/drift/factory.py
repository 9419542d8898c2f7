"""Factory of drift detectors."""

from collections.abc import Callable, Iterable

from pipeline.config import MonitorSettings
from pipeline.drift.binary import BinaryDetector
from pipeline.drift.conformal import ConformalDetector
from pipeline.drift.detector import DriftDetector
from pipeline.drift.martingale import MartingaleDetector


def build_detector(
    settings: MonitorSettings,
    reference: Iterable[float],
    expected_run: float,
    statistics: int,
    seed: int,
    *,
    binary: bool = False,
) -> DriftDetector:
    """Make the detector that the settings name.

    Args:
        settings: kind of detector, and its rate of false alarms.
        reference: values from before the stream; may be empty.
        expected_run: least mean number of values between false alarms; `martingale` ignores it.
        statistics: number of detectors that share `settings.false_alarm`; only `martingale` uses it.
        seed: of everything random in it.
        binary: whether the values are 0 or 1.
    """
    if settings.detector == "martingale":
        return MartingaleDetector(reference, settings.false_alarm / statistics, seed)
    if settings.detector == "conformal":
        if binary:
            return BinaryDetector(reference, expected_run)
        return ConformalDetector(reference, expected_run, seed)
    # river takes long to import, and only these three need it.
    from pipeline.drift import river_detectors  # noqa: PLC0415

    kinds: dict[str, Callable[[Iterable[float], float, int], DriftDetector]] = {
        "adwin": river_detectors.Adwin,
        "page_hinkley": river_detectors.PageHinkley,
        "kswin": river_detectors.Kswin,
    }
    return kinds[settings.detector](reference, expected_run, seed)
