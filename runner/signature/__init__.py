"""Reads from source, without importing, what a target accepts and which kind of part it is; builds parts."""
