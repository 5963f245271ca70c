"""From facts about a table to a suggestion: which columns to learn from and how, which architecture and optimizer."""
