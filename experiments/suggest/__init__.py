"""Which texts to label next, for people."""
