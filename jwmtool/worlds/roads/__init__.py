"""The lie of the land, the road network and the ground."""
