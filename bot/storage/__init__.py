"""Redis: the client, coordination between processes, files, key-value operations, embedded servers."""
