"""The Launchpad runtime: one program of queue, learner and actor processes."""
