"""Measurements of the whole bot; each is a module to run by hand (docs/performance.md)."""
