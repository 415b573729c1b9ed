"""Monitor, record and replay LLM calls: the only room with a clock and a network."""
