"""What a run folder says of its run: description, points, predictions."""
