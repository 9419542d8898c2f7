"""The server over HTTP: one concern a file."""
