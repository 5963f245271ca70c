"""Turns the words of the command line into a checked `Config`."""
