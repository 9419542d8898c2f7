"""The ingest service over HTTP."""
