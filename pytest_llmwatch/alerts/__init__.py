"""From what a gate found to the people who have to know: routing, memory, messages, channels."""
