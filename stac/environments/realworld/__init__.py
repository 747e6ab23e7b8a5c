"""The Real-World RL suite (Dulac-Arnold et al. 2020): control tasks with challenges."""
