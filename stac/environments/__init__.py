"""Environments: batched tasks behind one protocol (stac.environments.base)."""
