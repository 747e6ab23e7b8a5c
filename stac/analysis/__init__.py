"""Tools that draw, score and compare finished runs."""
