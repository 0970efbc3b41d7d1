"""Annotated rows: what they are, and how files become them."""
