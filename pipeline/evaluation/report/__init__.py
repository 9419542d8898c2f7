"""The report of a run: one page that carries its figures, tables and style inside itself."""

from pipeline.evaluation.report.build import build_report

__all__ = ["build_report"]
