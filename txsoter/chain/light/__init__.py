"""A light client: the headers of a DAG, checked, kept on disk, and in step with several peers.

::

    client = LightClient(PeerConfig(network=SIMNET), Path("state"))
    client.peers.dial(clientFromString(reactor, "tcp:192.0.2.7:18555"), "192.0.2.7")
    client.startService()
    await client.when_synced()

``header_record``, ``header_index``, ``sync_peer``, ``header_sync`` and ``progress`` are pure: no Twisted, no clock, no
I/O. ``header_file`` is SQLite without Twisted; ``header_store`` and ``client`` are services of Twisted's.
"""
