"""What a target accepts, read from its source without importing it; and the one place that builds parts."""
