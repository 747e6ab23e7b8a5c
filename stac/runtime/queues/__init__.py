"""How trajectories reach the learner and parameters reach the actors."""
