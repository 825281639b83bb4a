"""Commands that users type, the same on every platform."""
