"""One turn, and a kill at each step of it."""
