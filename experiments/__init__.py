"""Whole runs of KnowFREE: low-resource subsets, baselines, analyses, reports."""
