"""Rigid transforms, cameras, trajectories and spherical harmonics. NumPy float64 until rendering."""
