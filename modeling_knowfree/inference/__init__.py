"""What uses a trained model: tag, evaluate, export, serve."""
