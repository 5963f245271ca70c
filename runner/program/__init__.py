"""The compiled part of a run: pure functions that initialize, train and evaluate."""
