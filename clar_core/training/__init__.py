"""Training: configuration, the loop, imitation, checkpoints."""
