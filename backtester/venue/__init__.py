"""The venue: its book, its matching and its own account of us."""
