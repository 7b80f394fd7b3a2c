"""Show that nothing looked ahead, or what did."""
