"""Made worlds."""
