"""The kit that every platform uses."""
