"""A connection without I/O: its states, queues, deadlines and rules, driven by bytes, time and calls."""
