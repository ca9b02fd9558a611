"""User agents: ours, and the versions that a remote's names."""

from __future__ import annotations

from unittest import TestCase

from txsoter.core.agents import agent_versions, parse_version, user_agent
from txsoter.errors import FieldError


class UserAgentTests(TestCase):
    """Ours: ``/soterwire:0.6.0/name:version(comments)/``."""

    def test_name_and_version_follow_soterwires(self) -> None:
        self.assertEqual(user_agent("watcher", "1.0.0"), b"/soterwire:0.6.0/watcher:1.0.0/")

    def test_comments_are_joined_by_semicolons(self) -> None:
        self.assertEqual(user_agent("w", "1.0.0-rc.1+b", ("a b", "c")), b"/soterwire:0.6.0/w:1.0.0-rc.1+b(a b; c)/")

    def test_words_past_ascii_are_utf8(self) -> None:
        self.assertEqual(user_agent("çà", "1.0.0", ("é",)), "/soterwire:0.6.0/çà:1.0.0(é)/".encode())

    def test_what_would_not_be_read_back_is_refused(self) -> None:
        """No word is empty, unprintable, or has a character that ends it."""
        for name in ("", "a/b", "a:b", "a(", "a)", "a\n", "a\x00", "a\u202e"):
            with self.assertRaises(FieldError) as caught:
                user_agent(name, "1.0.0")
            self.assertEqual((caught.exception.field, caught.exception.value), ("user_agent_name", name))
        for comment in ("", "a/b", "a;b", "a(", "a)", "a\n"):
            with self.assertRaises(FieldError) as caught:
                user_agent("name", "1.0.0", ("fine", comment))
            self.assertEqual((caught.exception.field, caught.exception.value), ("user_agent_comments", comment))

    def test_only_strict_semver_is_a_version(self) -> None:
        for version in ("1.0", "1", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "", " 1.0.0", "1.0.0\n", "\uff11.0.0"):
            with self.assertRaises(FieldError) as caught:
                user_agent("name", version)
            error = caught.exception
            self.assertEqual((error.field, error.value), ("user_agent_version", version))
            self.assertIn("semantic version", error.limit)
        self.assertEqual(str(parse_version("1.2.3-a.1+b")), "1.2.3-a.1+b")


class AgentVersionsTests(TestCase):
    """Theirs: split on ``/`` first, entries that do not parse are skipped, the last of a name wins."""

    def majors(self, agent: bytes) -> dict[str, int]:
        return {name: version.major for name, version in agent_versions(agent).items()}

    def test_each_entry_names_a_version(self) -> None:
        self.assertEqual(self.majors(b"/soterwire:0.6.0/soterd:4.2.0/"), {"soterwire": 0, "soterd": 4})

    def test_comments_and_what_is_behind_the_version_do_not_matter(self) -> None:
        found = agent_versions(b"/a:1.2.3-rc.1+x(some; comment)/")
        self.assertEqual(str(found["a"]), "1.2.3-rc.1+x")

    def test_the_last_of_a_name_wins(self) -> None:
        self.assertEqual(self.majors(b"/a:1.0.0/b:2.0.0/a:3.0.0/"), {"a": 3, "b": 2})

    def test_a_last_that_does_not_parse_does_not_win(self) -> None:
        self.assertEqual(self.majors(b"/a:1.0.0/a:v3.0.0/a:3.0/"), {"a": 1})

    def test_versions_that_are_not_strict_semver_are_skipped(self) -> None:
        self.assertEqual(self.majors(b"/a:1.0/b:v1.0.0/c:01.0.0/d:1.0.0 /e:/f/:g/h:5.0.0/"), {"h": 5})

    def test_a_slash_inside_a_comment_breaks_its_entry(self) -> None:
        """The comment's part before the slash is cut off, and what follows it is an entry of its own."""
        self.assertEqual(self.majors(b"/a:1.0.0(see b:2.0.0/c:3.0.0)/"), {"a": 1})
        self.assertEqual(self.majors(b"/a:1.0.0(see /c:3.0.0/d)/"), {"a": 1, "c": 3})

    def test_an_entry_without_a_name_is_nobodys(self) -> None:
        self.assertEqual(self.majors(b"/7.0.0/a:1.0.0/"), {"": 7, "a": 1})

    def test_any_bytes_are_read(self) -> None:
        self.assertEqual(self.majors(b""), {})
        self.assertEqual(self.majors(bytes(range(256)) + b"/a:1.0.0/"), {"a": 1})
