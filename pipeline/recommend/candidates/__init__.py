"""Candidate sources of the second stage: each scores items for one window; the best of each are ranked."""
