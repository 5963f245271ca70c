"""A source whose rows pass through row operations, and what these operations do."""
