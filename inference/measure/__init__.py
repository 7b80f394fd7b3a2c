"""Measure a deployment, fit a simulated one to it, and hold the one against the other."""
