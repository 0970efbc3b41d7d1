"""LLM knowledge enhancement: data set in, data set out."""
