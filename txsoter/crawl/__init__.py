"""A map of the network: who is there, and who is connected to whom, each with its evidence."""
