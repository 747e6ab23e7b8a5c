"""Runtime: all that waits: actors, queues, learner, files."""
