"""Scores with their protocols, and the report."""
