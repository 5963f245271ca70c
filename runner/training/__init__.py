"""The loop around the program: evaluations, early stopping, checkpoints, signals."""
