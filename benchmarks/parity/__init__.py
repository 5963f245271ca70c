"""Compares our architectures with those of other libraries: logits and gradients, with equal weights."""
