"""A finished run as a model: predictions, figures, output files."""
