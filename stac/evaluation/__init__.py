"""Scores policies: whole episodes under a suite's own protocol, and their pictures."""
