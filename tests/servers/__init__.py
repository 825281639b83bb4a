"""Protocol servers: what the outside services do and refuse, over real sockets."""
