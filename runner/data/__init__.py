"""From a source and feature columns to encoded arrays, and from those to batches."""
