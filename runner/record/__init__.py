"""The record in a run's folder: description, points, predictions."""
