"""The steps of the augmentation, S1 to S11."""
