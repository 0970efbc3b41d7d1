"""Other ways to make training text than explanations: one file each."""
