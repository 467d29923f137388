"""WorldRec: a clip becomes a Gaussian scene in one pass through a network."""
