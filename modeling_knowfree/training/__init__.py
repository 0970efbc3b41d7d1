"""Arguments, Trainer, one training, sampling of subsets."""
