"""From the profile of a table to words: which columns, which architecture, which optimizer."""
