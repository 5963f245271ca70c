"""Comparison of our models with those of other libraries: logits and gradients in float32, with equal weights."""
