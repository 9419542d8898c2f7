"""Tests, by the package they test; a package itself, so that tests can share what they make."""
