"""Whole runs, baselines, analyses, report: one file each."""
