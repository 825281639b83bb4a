"""Storm test: the real program in several processes under faults, against the protocol servers."""
