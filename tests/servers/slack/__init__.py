"""Slack for tests."""
