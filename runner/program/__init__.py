"""The compiled, pure part of a run: initialization, training step, evaluation."""
