"""Faster implementations of some operations. Fixed rules on platform and shapes choose between them and XLA's own."""
