"""Faster implementations of some operations; fixed rules on platform and shapes choose between them and XLA's own."""
