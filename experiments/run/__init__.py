"""A whole run: settings, cells, stages."""
