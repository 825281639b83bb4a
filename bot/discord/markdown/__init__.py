"""Markdown as Discord shows it."""
