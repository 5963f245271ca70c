"""Expressions over the columns of a block, as text: numbers, conditions, texts and times."""
