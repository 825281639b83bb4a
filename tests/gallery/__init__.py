"""Gallery: pictures of typical conversations, drawn from what the protocol servers received."""
