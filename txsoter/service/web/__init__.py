"""What the status page and the metrics have in common as servers: who may look, how long, and how many."""
