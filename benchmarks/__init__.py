"""Measurements: each prints a table, and BUILD_NOTES.md says what was seen."""
