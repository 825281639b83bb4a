"""Tasks of the event loop: cancellation, first failure, and a watchdog for a loop that hangs."""
