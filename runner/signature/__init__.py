"""Reads the signature and the kind of a part from source, without importing it; and builds parts."""
