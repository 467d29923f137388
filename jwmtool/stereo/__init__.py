"""Depth from posed neighbours: plane sweep and lifting to points."""
