"""JSON schemas of the files of an evaluation."""
