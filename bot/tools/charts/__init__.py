"""Charts: pictures of the rows of a query."""
