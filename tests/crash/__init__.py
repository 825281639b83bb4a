"""Crash points: one turn, with a kill at each of its steps."""
