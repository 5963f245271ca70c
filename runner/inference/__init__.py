"""A finished run as a trained model: metrics, predictions, and files of predictions."""
