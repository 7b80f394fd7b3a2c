"""A scenario's deployment, measured: what it is asked about, on what, and what that does to runs."""
