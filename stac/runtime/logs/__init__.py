"""The numbers of a run: statistics, log files, the terminal."""
