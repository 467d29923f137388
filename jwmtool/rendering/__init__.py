"""Rendering scenes along cameras, trajectories and from above."""
