"""Training of the network that makes first pictures."""
