"""A ``version`` encoded in advance, and filled in for each connection."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txsoter.errors import FieldError
from txsoter.wire import Hash, NetAddress, Version
from txsoter.wire.control import VersionTemplate

BASE = Version(
    protocol_version=70013,
    services=13,
    addr_me=NetAddress(13, "192.0.2.7", 18555),
    user_agent=b"/watcher:1.0.0/",
    genesis_hash=Hash(bytes(range(32))),
    relay=False,
)


class TemplateTests(SynchronousTestCase):
    def test_it_is_the_version_with_these_fields_at_any_protocol_version(self) -> None:
        you = NetAddress(1, "2001:db8::1", 0x1234)
        for time, nonce, height in ((0, 0, 0), (-(1 << 63), (1 << 64) - 1, -1), (1_700_000_000, 7, (1 << 31) - 1)):
            filled = VersionTemplate(BASE).fill(time, you, nonce, height)
            whole = Version(
                protocol_version=BASE.protocol_version,
                services=BASE.services,
                timestamp=time,
                addr_you=you,
                addr_me=BASE.addr_me,
                nonce=nonce,
                user_agent=BASE.user_agent,
                genesis_hash=BASE.genesis_hash,
                last_block=height,
                relay=BASE.relay,
            )
            for pver in (70013, 60000, 209):
                self.assertEqual(filled.to_payload(pver), whole.to_payload(pver))
            self.assertEqual(filled, whole)

    def test_a_height_that_does_not_fit_is_named_when_it_is_encoded(self) -> None:
        for height in (1 << 31, "7", None, 1.5):
            filled = VersionTemplate(BASE).fill(0, NetAddress(), 1, height)  # type: ignore[arg-type]  # which it is about
            error = self.assertRaises(FieldError, filled.to_payload)
            self.assertIn("last_block", str(error))
