"""Training of the network that repairs renders."""
