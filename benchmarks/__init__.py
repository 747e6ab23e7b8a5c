"""Measurements: each prints a table, and docs/ has what was seen."""
