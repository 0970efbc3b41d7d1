"""LLM knowledge enhancement: data set in, data set out."""

__version__ = "0.1.0"
