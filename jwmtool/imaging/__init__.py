"""Pure functions on images: similarity, resizing, contact sheets."""
