"""STAC and STACX: the self-tuning actor-critic (Zahavy et al., 2020)."""
