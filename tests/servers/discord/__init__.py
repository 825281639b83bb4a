"""Discord for tests."""
