"""Older protocol versions, spoken with a soterd of the newest."""

from __future__ import annotations

import pytest

from txsoter.errors import UnsupportedMessage
from txsoter.test.live.fed import Fed
from txsoter.test.live.peers import FULL, Harbour, Tape, answer_nothing_new, dial, live, simnet, within
from txsoter.testing.soterd import SoterdFactory
from txsoter.wire import (
    AddrCache,
    GetAddrCache,
    GetHeaders,
    Headers,
    Ping,
    Pong,
    Version,
    messages,
    write_message,
)

VERSIONS = [209, 60000, 60001, 70001, 70002, 70012]

SINCE = {
    "pong": 60001,
    "mempool": 60002,
    "filteradd": 70001,
    "filterclear": 70001,
    "filterload": 70001,
    "merkleblock": 70001,
    "reject": 70002,
    "sendheaders": 70012,
    "feefilter": 70013,
}
"""The first version of each message that is younger than the oldest version."""


def _without_relay_byte(version: Version) -> int:
    """Bytes of the frame of ``version`` below 70001."""
    return len(write_message(version, simnet().network.magic, 70000))


def _version(tape: Tape, what: str) -> tuple[Version, int]:
    """The version ``read`` or ``wrote``, and the bytes of its frame."""
    index = tape.index(what, "version")
    version = tape.events[index][1]
    assert isinstance(version, Version)
    return version, tape.sizes[index]


@pytest.mark.parametrize("pver", VERSIONS)
@live(60)
async def test_dialling(soterds: SoterdFactory, fed: Fed, pver: int) -> None:
    """We dial it: its pongs, the relay byte, timestamps, and what does not exist fails here, at once."""
    node, tape = await soterds.start(data=fed.data), Tape()
    peer = await dial(node, simnet(protocol_version=pver, disable_relay_tx=True, listeners=tape.listeners()))
    assert (peer.stats().negotiated_version, peer.stats().advertised_version) == (pver, 70013)

    # both sides write the relay byte from 70001, and so only then is our wish known
    relay_byte = 1 if pver >= 70001 else 0
    for what in ("wrote", "read"):
        version, size = _version(tape, what)
        assert size == _without_relay_byte(version) + relay_byte
    (seen,) = await node.peers()
    assert seen["version"] == pver
    assert seen["relaytxes"] is (pver < 70001)

    bytes_before = peer.stats().bytes_sent
    for command, message_class in messages().items():
        since = SINCE.get(command, 0)
        if since > pver:
            with pytest.raises(UnsupportedMessage) as refused:
                peer.send(message_class())
            assert (refused.value.command, refused.value.pver, refused.value.since) == (command, pver, since)
        elif command != "alert":  # which cannot be encoded when empty
            assert write_message(message_class(), peer.config.network.magic, pver)
    assert peer.stats().bytes_sent == bytes_before
    await peer.push_reject("version", 0x10, "goes out from 70002, and is only noted there")
    assert ("reject" in peer.stats().sent) is (pver >= 70002)

    if pver > 60000:
        assert (await peer.request(Ping(0x1234), Pong)).nonce == 0x1234
    else:
        await peer.send(Ping(0x1234))
    assert tape.sizes[tape.index("wrote", "ping")] == (32 if pver > 60000 else 24)

    # it answers what comes behind the ping, and so has answered that or never will
    cache = await peer.request(GetAddrCache(), AddrCache)
    assert ("pong" in tape.commands("read")) is (pver > 60000)
    assert len(cache.inbound) == 1
    assert (cache.inbound[0].timestamp == 0) is (pver < 31402)

    headers = await peer.request(GetHeaders(height=0), Headers)
    assert len(headers.headers) == fed.block_count - 1
    await peer.disconnect()
    # the refused sends; nothing that was read
    assert all(isinstance(failure, UnsupportedMessage) for failure in tape.failures)


@pytest.mark.parametrize("pver", VERSIONS)
@live(60)
async def test_dialled(soterds: SoterdFactory, pver: int) -> None:
    """It dials us: its version has the relay byte whatever ours, and ours has it from 70001."""
    tape = Tape()
    config = simnet(protocol_version=pver, services=FULL, listeners=tape.listeners(on_getblocks=answer_nothing_new))
    harbour = await Harbour(config).open()
    arrival = harbour.next_peer()
    soterds.launch(f"--connect={harbour.address}")
    try:
        peer = await within(30, (await arrival).when_ready())
        if pver > 60000:
            assert (await peer.request(Ping(5), Pong)).nonce == 5
        assert len((await peer.request(GetAddrCache(), AddrCache)).outbound) <= 1
        assert peer.stats().negotiated_version == pver
    finally:
        await harbour.close()
    version, size = _version(tape, "read")
    assert size == _without_relay_byte(version) + 1
    version, size = _version(tape, "wrote")
    assert size == _without_relay_byte(version) + (1 if pver >= 70001 else 0)
    assert tape.failures == []
