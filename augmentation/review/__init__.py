"""Looking at an augmentation: page, decisions, export."""
