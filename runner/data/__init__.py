"""Loads data: encodes the rows of a source by feature columns, and splits the encoded arrays into batches."""
