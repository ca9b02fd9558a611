"""One remote, one connection: see :class:`txsoter.SoterPeerProtocol`."""
