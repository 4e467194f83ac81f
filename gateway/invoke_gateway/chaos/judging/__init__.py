"""Records the true course of calls, and checks the answers of a gateway against it."""
