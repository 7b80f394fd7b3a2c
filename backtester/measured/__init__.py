"""A scenario's deployment, measured, and what an error of the simulated one does to runs."""
