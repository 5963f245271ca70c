"""Suggests feature columns, options and sizes of a run from the profile of a table."""
