"""One run on several hosts: who they are, how they meet, and how they end together."""
