"""The published schemas of what an evaluation writes."""
