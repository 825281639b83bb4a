"""Scenarios: stories that are told to the bot, and checks of what it shows."""
