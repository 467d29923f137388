"""Who drives and walks where, and the rare events."""
