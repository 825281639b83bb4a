"""Measurements of the whole bot; each is run by hand as a module. See docs/performance.md."""
