"""Learning: the paper's two algorithm boxes, as pure functions."""
