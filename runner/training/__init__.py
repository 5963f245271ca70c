"""The training loop: steps, evaluations, early stopping, checkpoints, signals."""
