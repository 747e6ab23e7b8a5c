"""`python -m launch.cloud TARGET … -- launch.atari …`: a run on machines made for it.

A launch is a `Plan`, data that a pure function of its target makes. `runner.py` carries
it out and deletes all that it created, however it ends.
"""
