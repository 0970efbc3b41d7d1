"""What KnowFREE is compared with."""
