"""Tests of :mod:`txsoter.errors`."""

from __future__ import annotations

import pickle
from unittest import TestCase

from txsoter import errors
from txsoter.errors import (
    CloseCause,
    ClosedBy,
    CloseReason,
    ConnectionClosed,
    FieldError,
    HandshakeFailed,
    IllegalTransition,
    InvalidBlock,
    InvalidProof,
    LocalError,
    MalformedMessage,
    NeedMoreData,
    PayloadTooLarge,
    RemoteError,
    RequestClosed,
    RequestFailed,
    RequestNotFound,
    RequestRejected,
    RequestTimedOut,
    SendQueueFull,
    TxsoterError,
    UnsupportedMessage,
)
from txsoter.wire import Hash, InventoryVector

STALLED = CloseReason(ClosedBy.LOCAL, CloseCause.STALLED, "after 90 s", command="getheaders")

ONE_OF_EACH: tuple[TxsoterError, ...] = (
    FieldError("Ping.nonce", -1, "a whole number"),
    PayloadTooLarge("version", 359, 358, "shorten it"),
    UnsupportedMessage("reject", 70001, 70002),
    SendQueueFull(90, 20, 100),
    IllegalTransition("no such move"),
    NeedMoreData(24),
    MalformedMessage("too short", "ping", True),
    InvalidProof("nonces ascend", "nonce 1 is 0"),
    InvalidBlock(Hash(b"\1" * 32), "another root", "merkle root"),
    ConnectionClosed(STALLED),
    HandshakeFailed(STALLED),
    RequestTimedOut("getheaders", 1.5),
    RequestNotFound("getdata", [InventoryVector(1, bytes(32))]),
    RequestRejected("tx", 0x10, "bad"),
    RequestClosed("getheaders", STALLED),
)


class HierarchyTests(TestCase):
    """Who is to blame shows in the branch."""

    def test_local_errors(self) -> None:
        for cls in (FieldError, PayloadTooLarge, UnsupportedMessage, SendQueueFull, IllegalTransition):
            self.assertTrue(issubclass(cls, LocalError), cls)
            self.assertFalse(issubclass(cls, RemoteError), cls)

    def test_remote_errors(self) -> None:
        for cls in (MalformedMessage, InvalidProof, InvalidBlock):
            self.assertTrue(issubclass(cls, RemoteError), cls)
            self.assertFalse(issubclass(cls, LocalError), cls)

    def test_what_happened_is_nobodys_fault(self) -> None:
        for cls in (NeedMoreData, ConnectionClosed, RequestFailed):
            self.assertFalse(issubclass(cls, (LocalError, RemoteError)), cls)

    def test_ends_of_connections_and_requests(self) -> None:
        """A request that the connection's end cuts off is both."""
        self.assertTrue(issubclass(HandshakeFailed, ConnectionClosed))
        for cls in (RequestTimedOut, RequestNotFound, RequestRejected, RequestClosed):
            self.assertTrue(issubclass(cls, RequestFailed), cls)
            self.assertIs(issubclass(cls, ConnectionClosed), cls is RequestClosed)

    def test_all_have_one_base(self) -> None:
        for name in errors.__all__:
            cls = getattr(errors, name)
            if issubclass(cls, BaseException):
                self.assertTrue(issubclass(cls, TxsoterError), name)

    def test_field_error_is_a_value_error(self) -> None:
        """So that callers who know nothing of txsoter catch it."""
        self.assertTrue(issubclass(FieldError, ValueError))

    def test_pickle(self) -> None:
        """Errors survive a process boundary, with all they say."""
        for error in ONE_OF_EACH:
            copy = pickle.loads(pickle.dumps(error))
            self.assertIs(type(copy), type(error))
            self.assertEqual((str(copy), vars(copy)), (str(error), vars(error)))


class FieldErrorTests(TestCase):
    """It names field, value and limit."""

    def test_text(self) -> None:
        error = FieldError("Ping.nonce", -1, "a whole number from 0 to 9")
        self.assertEqual(str(error), "Ping.nonce = -1: must be a whole number from 0 to 9")

    def test_value_of_80_characters_is_shown_whole(self) -> None:
        value = "x" * 78
        self.assertEqual(str(FieldError("f", value, "y")), f"f = {value!r}: must be y")

    def test_longer_value_is_cut(self) -> None:
        self.assertEqual(str(FieldError("f", "x" * 79, "y")), f"f = '{'x' * 76}...: must be y")

    def test_value_itself_is_kept_whole(self) -> None:
        value = ["x" * 100]
        self.assertIs(FieldError("f", value, "y").value, value)

    def test_value_that_cannot_be_shown(self) -> None:
        """Such as a row without columns."""
        error = FieldError("f", tuple.__new__(InventoryVector, ()), "y")
        self.assertEqual(str(error), "f = object of type InventoryVector: must be y")

    def test_within_joins_names_by_a_dot(self) -> None:
        error = FieldError("height", 1, "x").within("GetHeaders")
        self.assertEqual((error.field, error.value, error.limit), ("GetHeaders.height", 1, "x"))

    def test_within_joins_an_index_without_a_dot(self) -> None:
        self.assertEqual(FieldError("[3].hash", 1, "x").within("vectors").within("Inv").field, "Inv.vectors[3].hash")

    def test_within_gives_an_empty_path_its_name(self) -> None:
        self.assertEqual(FieldError("", 1, "x").within("nonce").field, "nonce")


class TextTests(TestCase):
    """What people read names the figures."""

    def test_payload_too_large(self) -> None:
        self.assertEqual(
            str(PayloadTooLarge("inv", 1_800_010, 1_800_009)),
            "inv payload is 1800010 bytes, at most 1800009 may be sent",
        )

    def test_payload_too_large_with_advice(self) -> None:
        self.assertTrue(str(PayloadTooLarge("version", 359, 358, "cut it")).endswith("may be sent: cut it"))

    def test_unsupported_message(self) -> None:
        text = str(UnsupportedMessage("reject", 70001, 70002))
        self.assertEqual(text, "reject does not exist at protocol version 70001, only from 70002")

    def test_send_queue_full(self) -> None:
        self.assertRegex(str(SendQueueFull(90, 20, 100)), r"^90 bytes wait .* 20 more .* limit of 100: wait for")

    def test_need_more_data(self) -> None:
        self.assertEqual(str(NeedMoreData(7)), "the frame goes on: at least 7 bytes are missing")

    def test_malformed_message(self) -> None:
        error = MalformedMessage("too short", "ping")
        self.assertEqual((str(error), error.in_header), ("ping: too short", False))

    def test_malformed_message_without_a_command(self) -> None:
        error = MalformedMessage("too short", in_header=True)
        self.assertEqual((str(error), error.command, error.in_header), ("too short", None, True))

    def test_malformed_message_with_an_empty_command(self) -> None:
        """An empty command can be read, and so is named."""
        self.assertEqual(str(MalformedMessage("too short", "")), ": too short")

    def test_invalid_block(self) -> None:
        error = InvalidBlock(Hash(bytes(31) + b"\1"), "x", "merkle root")
        self.assertEqual((str(error), error.rule), (f"block 01{'00' * 31}: x", "merkle root"))
        self.assertIsInstance(error, InvalidProof)

    def test_invalid_proof(self) -> None:
        error = InvalidProof("20 nonces", "there are 19")
        self.assertEqual(
            (str(error), error.rule, error.reason), ("20 nonces: there are 19", "20 nonces", "there are 19")
        )


class CloseReasonTests(TestCase):
    """Who ended a connection, and why, in one line."""

    def test_who_and_why(self) -> None:
        reason = CloseReason(ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED)
        self.assertEqual(str(reason), "closed by the remote: the remote closed the connection")

    def test_command_and_detail(self) -> None:
        self.assertEqual(str(STALLED), "closed by us: an answer did not come (getheaders): after 90 s")

    def test_reject(self) -> None:
        reason = CloseReason(ClosedBy.REMOTE, CloseCause.REJECTED, code=0x11, reject_reason="too old")
        self.assertEqual(str(reason), "closed by the remote: the remote rejected us [reject 0x11: too old]")

    def test_immutable(self) -> None:
        with self.assertRaises(AttributeError):
            STALLED.detail = "other"  # type: ignore[misc]

    def test_closed_connections_say_it(self) -> None:
        for cls in (ConnectionClosed, HandshakeFailed):
            self.assertEqual((str(cls(STALLED)), cls(STALLED).reason), (str(STALLED), STALLED))


class RequestTests(TestCase):
    """Why a request has no answer."""

    def test_timed_out(self) -> None:
        error = RequestTimedOut("getheaders", 90)
        self.assertEqual((str(error), error.timeout), ("no answer to getheaders within 90 s", 90))

    def test_not_found(self) -> None:
        """Three of the hashes, however many there are."""
        vectors = [InventoryVector(1, bytes((number,)) * 32) for number in range(5)]
        error = RequestNotFound("getdata", vectors)
        hashes = ", ".join(f"{number:02}" * 32 for number in range(3))
        self.assertEqual((str(error), error.vectors), (f"the remote does not have {hashes}", vectors))

    def test_rejected(self) -> None:
        error = RequestRejected("tx", 0x10, "bad")
        self.assertEqual((str(error), error.code, error.reason), ("tx was rejected with 0x10: bad", 0x10, "bad"))

    def test_closed(self) -> None:
        error = RequestClosed("getheaders", STALLED)
        self.assertEqual((str(error), error.command), (f"no answer to getheaders: {STALLED}", "getheaders"))
        self.assertIs(error.reason, STALLED)
