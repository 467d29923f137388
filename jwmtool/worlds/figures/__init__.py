"""Bodies of actors."""
