"""The real program in several processes, in a storm of faults, against the protocol servers."""
