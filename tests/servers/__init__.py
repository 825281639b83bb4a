"""Protocol servers that behave like the external services, over real sockets."""
