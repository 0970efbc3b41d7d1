"""What uses a trained model: tag and evaluate."""
