"""Contract of the chat platforms: stories that are told once and run on each of them."""
