"""HTML reports of one run or several; each page includes its figures, tables and style."""

from pipeline.evaluation.report.build import build_report
from pipeline.evaluation.report.compare import build_comparison

__all__ = ["build_comparison", "build_report"]
