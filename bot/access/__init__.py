"""Access control: the allow-list, rate limits, budgets and approvals."""
