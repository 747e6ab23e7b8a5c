"""Draws and compares runs, from their files alone."""
