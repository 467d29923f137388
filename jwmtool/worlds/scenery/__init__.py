"""What stands beside the road: where it stands and how it looks."""
