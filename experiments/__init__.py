"""Whole runs, the other systems, the report, which texts to label next: a folder each."""
