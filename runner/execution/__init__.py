"""Executes one run: prepares it, opens its folder, trains, evaluates and records it."""
