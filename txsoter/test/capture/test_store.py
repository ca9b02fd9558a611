"""A directory of captures: names, limits, what goes first, and disks that fail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from txsoter.capture import CaptureError
from txsoter.capture.folders import folder_name, is_ours, size_on_disk, time_text
from txsoter.capture.records import NOTES, RECEIVED, SENT
from txsoter.capture.store import CaptureStore, Folder, Piece
from txsoter.test.capture.support import START, CaptureCase, notes_in, record, records_in

KIB = 1024
BIG = record("block", bytes(40 * KIB - 24)).pack()
ON_DISK = 4 * KIB + 40 * KIB + 4 * KIB
"""What a folder with one BIG record and its first note takes: itself and two files, in blocks of 4 KiB."""


class NameTests(CaptureCase):
    def test_time_direction_and_address(self) -> None:
        for address, inbound, expected in (
            ("192.0.2.7:18555", False, "20260528T202640.000000Z_outbound_192.0.2.7_18555"),
            ("[2001:db8::1]:5070", True, "20260528T202640.000000Z_inbound_2001-db8-1_5070"),
            ("unix:/run/soter.sock", True, "20260528T202640.000000Z_inbound_unix-run-soter.sock"),
            ("nowhere", False, "20260528T202640.000000Z_outbound_nowhere"),
            ("../../etc:80", False, "20260528T202640.000000Z_outbound_etc_80"),
            ("a" * 300 + ".onion:1", False, "20260528T202640.000000Z_outbound_" + "a" * 60 + "_1"),
        ):
            self.assertEqual(folder_name(START, address, inbound), expected)

    @given(st.text(max_size=100), st.booleans())
    def test_nothing_unsafe_whatever_the_address(self, address: str, inbound: bool) -> None:
        """Letters, digits, dots, dashes and underscores; no path, and one that is known again."""
        name = folder_name(START, address, inbound)
        self.assertRegex(name, r"\A[A-Za-z0-9._-]{1,120}\Z")
        path = self.folder / name
        self.assertEqual(path.parent, self.folder)
        path.mkdir(exist_ok=True)
        self.assertTrue(is_ours(path))

    def test_names_sort_by_time(self) -> None:
        names = [folder_name(START + each, f"{9 - each}:1", bool(each % 2)) for each in range(5)]
        self.assertEqual(sorted(names), names)

    def test_others_are_not_ours(self) -> None:
        """Neither a folder of another name, nor a file or a link of such a name."""
        name = folder_name(START, "192.0.2.7:1", True)
        for other in ("notes", f"x{name}", f"{name}~", f"{name}_2_x"):
            (self.folder / other).mkdir()
            self.assertFalse(is_ours(self.folder / other))
        (self.folder / name).write_text("a file")
        self.assertFalse(is_ours(self.folder / name))
        link = self.folder / folder_name(START + 1, "192.0.2.7:1", True)
        link.symlink_to(self.folder / "notes")
        self.assertFalse(is_ours(link))

    def test_times_of_any_file_have_a_text(self) -> None:
        self.assertEqual(time_text(START + 1), "2026-05-28 20:26:40.000001")
        self.assertEqual(time_text(2**64 - 1), "18446744073709551615")

    def test_sizes_are_those_on_the_disk(self) -> None:
        """Whole blocks, the folder's too: thousands of tiny captures take more than their bytes."""
        self.assertEqual(size_on_disk({}), 4096)
        self.assertEqual(size_on_disk({RECEIVED: 1, NOTES: 4097}), 4096 + 4096 + 8192)


class StoreTests(CaptureCase):
    def store(self, **options: Any) -> CaptureStore:
        """One that is ready; released when the test is over."""
        store = CaptureStore(self.folder, **options)
        store.prepare()
        self.addCleanup(store.release)
        return store

    def connection(self, number: int) -> Folder:
        return Folder(START + number, f"192.0.2.{number}:18555", inbound=True)

    def piece(self, folder: Folder, recv: bytes = BIG, last: bool = False, sent: bytes = b"") -> Piece:
        return Piece(folder, {"time": folder.time, "note": "opened"}, [recv], [sent], (), last)

    def on_disk(self) -> int:
        """What is really there, in blocks."""
        return sum(
            size_on_disk({each.name: each.stat().st_size for each in folder.iterdir()}) for folder in self.folders()
        )

    def test_only_its_owner_can_read_it(self) -> None:
        """What strangers said may be private: the directory, a connection's folder, and all files."""
        previous = os.umask(0o022)
        self.addCleanup(os.umask, previous)
        store = CaptureStore(self.folder / "captures")
        store.prepare()
        self.addCleanup(store.release)
        store.write([self.piece(self.connection(1), sent=record("pong").pack())])
        found = [self.folder / "captures", *(self.folder / "captures").rglob("*")]
        modes = {each.relative_to(self.folder).parts[-1]: each.stat().st_mode & 0o777 for each in found}
        self.assertEqual(len(modes), 6)
        for name, mode in modes.items():
            self.assertEqual(mode, 0o600 if "." in name and not name.startswith("2026") else 0o700, name)

    def test_pieces_of_a_connection_follow_each_other(self) -> None:
        store, folder = self.store(), self.connection(1)
        store.write([self.piece(folder, record("ping").pack(), sent=record("pong").pack())])
        store.write([self.piece(folder, record("inv").pack(), last=True)])
        self.assertEqual([each.name for each in records_in(self.only_folder(), RECEIVED)], ["ping", "inv"])
        self.assertEqual([each.name for each in records_in(self.only_folder(), SENT)], ["pong"])
        self.assertEqual(notes_in(self.only_folder()), [{"time": START + 1, "note": "opened", "part": 1}])
        self.assertEqual(store.total, self.on_disk())

    def test_two_of_one_name_get_a_folder_each(self) -> None:
        store = self.store()
        store.write([self.piece(self.connection(1)), self.piece(self.connection(1))])
        first, second = self.folders()
        self.assertEqual(second.name, f"{first.name}_2")
        self.assertTrue(is_ours(second))

    def test_the_oldest_go_when_there_is_too_much(self) -> None:
        """Oldest: written to the longest ago, so that a connection that lives outlasts one that began after it."""
        store = self.store(max_total=3 * ON_DISK)
        connections = [self.connection(number) for number in range(4)]
        store.write([self.piece(connections[0], record("ping").pack())])
        for each in connections[1:3]:
            store.write([self.piece(each, last=True)])
        store.write([self.piece(connections[0])])
        store.write([self.piece(connections[3], last=True)])
        left = [each.name.rpartition("_inbound_")[2] for each in self.folders()]
        self.assertEqual(left, ["192.0.2.0_18555", "192.0.2.3_18555"])
        self.assertEqual(store.total, self.on_disk())
        self.assertLessEqual(store.total, 3 * ON_DISK)

    def test_one_that_goes_while_its_connection_lives_is_begun_again(self) -> None:
        store = self.store(max_total=2 * ON_DISK)
        living = self.connection(0)
        store.write([self.piece(living)])
        for number in range(1, 5):
            store.write([self.piece(self.connection(number))])
        self.assertNotIn("192.0.2.0", str(self.folders()))
        store.write([self.piece(living, record("pong").pack())])
        (again,) = [each for each in self.folders() if "192.0.2.0" in each.name]
        self.assertEqual([each.name for each in records_in(again, RECEIVED)], ["pong"])
        self.assertEqual(notes_in(again)[0]["part"], 2)

    def test_a_connection_keeps_its_newest_half(self) -> None:
        """At half of its limit it begins a new folder, and the one before the last goes."""
        store, folder = self.store(max_connection=4 * len(BIG)), self.connection(1)
        for number in range(7):
            store.write([self.piece(folder, record("block", bytes([number]) * (40 * KIB - 24)).pack())])
        kept = [records_in(each, RECEIVED) for each in self.folders()]
        self.assertEqual([[each.payload[0] for each in records] for records in kept], [[4, 5], [6]])
        self.assertEqual([notes_in(each)[0]["part"] for each in self.folders()], [3, 4])
        self.assertEqual([each.name[-8:] for each in self.folders()], ["_part003", "_part004"])
        self.assertTrue(all(map(is_ours, self.folders())))
        self.assertEqual(store.total, self.on_disk())

    def test_what_was_there_before_counts_and_goes_first(self) -> None:
        """A process that begins again keeps the limit over what the one before has left."""
        before = CaptureStore(self.folder)
        before.prepare()
        for number in (3, 1, 2):
            before.write([self.piece(self.connection(number), last=True)])
            time = START / 1e6 + {3: 0, 1: 1, 2: 2}[number]
            for file in before._folders:
                for name in (RECEIVED, NOTES):
                    if f"192.0.2.{number}_" in file.name:
                        os.utime(file / name, (time, time))
        before.release()
        (self.folder / "mine.txt").write_text("not a capture")
        store = self.store(max_total=3 * ON_DISK)
        self.assertEqual(store.total, 3 * ON_DISK)
        store.write([self.piece(self.connection(4), last=True)])
        self.assertEqual([each.name[-7] for each in self.folders()], ["1", "2", "4"])
        self.assertTrue((self.folder / "mine.txt").exists())

    def test_files_that_are_not_ours_stay(self) -> None:
        """Even in a folder that goes."""
        store = self.store(max_total=ON_DISK)
        store.write([self.piece(self.connection(1), last=True)])
        (self.only_folder() / "remark.txt").write_text("keep me")
        store.write([self.piece(self.connection(2), last=True)])
        first, second = self.folders()
        self.assertEqual([each.name for each in first.iterdir()], ["remark.txt"])
        self.assertEqual(len(records_in(second, RECEIVED)), 1)

    def test_a_folder_that_somebody_removed_is_begun_again(self) -> None:
        store, folder = self.store(), self.connection(1)
        store.write([self.piece(folder)])
        for each in self.only_folder().iterdir():
            each.unlink()
        self.only_folder().rmdir()
        store.write([self.piece(folder, record("ping").pack())])
        self.assertEqual([each.name for each in records_in(self.only_folder(), RECEIVED)], ["ping"])
        self.assertEqual(store.total, self.on_disk())

    def test_a_directory_that_cannot_be_written_is_named(self) -> None:
        """One error of ours, whether it cannot be made, or be written to, or is another process's."""
        (self.folder / "file").write_text("")
        for directory, reason in (
            (self.folder / "file" / "below", "cannot be captured to: Not a directory"),
            (self.folder / "file", "cannot be captured to: File exists"),
            (Path("/proc/captures"), "cannot be captured to: No such file or directory"),
        ):
            with self.assertRaises(CaptureError) as caught:
                CaptureStore(directory).prepare()
            self.assertEqual(str(caught.exception), f"{directory}: {reason}")
        store = self.store()
        with self.assertRaises(CaptureError) as caught:
            CaptureStore(self.folder).prepare()
        self.assertEqual(str(caught.exception), f"{self.folder}: another process captures to it")
        store.release()
        self.store()

    def test_a_full_disk_leaves_whole_records(self) -> None:
        """What a write has left of a record when the disk was full is taken back, and the error goes on."""
        store, folder = self.store(), self.connection(1)
        store.write([self.piece(folder, record("ping").pack())])
        real, full = os.write, OSError(28, "No space left on device")
        takes = iter([real, lambda file, data: real(file, data[:100]), _raising(full)])
        self.patch_write(lambda file, data: next(takes)(file, data))
        with self.assertRaises(OSError):
            store.write([self.piece(folder, record("inv").pack(), sent=BIG)])
        self.assertEqual([each.name for each in records_in(self.only_folder(), RECEIVED)], ["ping", "inv"])
        self.assertEqual((self.only_folder() / SENT).read_bytes(), b"")

    def patch_write(self, write: Any) -> None:
        real = os.write
        os.write = write
        self.addCleanup(setattr, os, "write", real)

    def test_short_writes_are_gone_on_with(self) -> None:
        """A disk may take a part of what it is given, and the rest when it is asked again."""
        real = os.write
        self.patch_write(lambda file, data: real(file, data[:1000]))
        store, folder = self.store(), self.connection(1)
        store.write([self.piece(folder)])
        self.assertEqual((self.only_folder() / RECEIVED).read_bytes(), BIG)


def _raising(error: Exception) -> Any:
    def raises(*arguments: object) -> None:
        raise error

    return raises
