"""How a run ends, and how it survives failures."""
