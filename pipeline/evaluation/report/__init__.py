"""Reports: one page a run, or one page over several; each carries its figures, tables and style inside itself."""

from pipeline.evaluation.report.build import build_report
from pipeline.evaluation.report.compare import build_comparison

__all__ = ["build_comparison", "build_report"]
