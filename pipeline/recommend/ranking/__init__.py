"""Ranking of candidates: named features, and a small network that learns from every event."""
