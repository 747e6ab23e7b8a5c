"""Many dm_env environments as one batched environment."""
