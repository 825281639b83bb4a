"""SQL tools: one gate for every statement, read-only queries, and changes that need approval."""
