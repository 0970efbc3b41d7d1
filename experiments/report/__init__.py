"""What a run found, on one page."""
