"""Triangles and lines that everything is built of."""
