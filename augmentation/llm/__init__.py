"""Whoever answers, and how answers are asked for, paid, kept and parsed."""
