"""Agents: pure functions behind one contract (stac.agents.base)."""
