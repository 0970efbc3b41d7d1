"""What several tests use: servers, drivers, tiny models, a dense reference."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
"""The development data, beside the checkout; tests that read them are marked `shared`."""
