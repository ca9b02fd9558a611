"""Connections that strangers may open: in all, and from one address."""

from __future__ import annotations

__all__ = ["Admission"]


class Admission:
    """Counts of connections, and who may still come in.

    :param most: connections in all; None for any number.
    :param most_of_one: connections from one address group; None for any number.
    :ivar refused: connections that were not let in.
    """

    def __init__(self, most: int | None, most_of_one: int | None) -> None:
        self.most = most
        self.most_of_one = most_of_one
        self.refused = 0
        self._in_all = 0
        self._of_group: dict[str, int] = {}

    def __len__(self) -> int:
        return self._in_all

    def refusal(self, group: str | None = None) -> str | None:
        """Return why a connection from ``group`` may not come in; None when it may.

        :param group: None while it is not known, or cannot be counted.
        """
        if self.most is not None and self._in_all >= self.most:
            return f"there are {self._in_all} already (max_connections)"
        return self.group_refusal(group)

    def group_refusal(self, group: str | None) -> str | None:
        """Return why a connection that has come in may not stay, now that its group is known; None when it may."""
        of_group = 0 if group is None else self._of_group.get(group, 0)
        if self.most_of_one is not None and of_group >= self.most_of_one:
            return f"there are {of_group} from {group} already (max_connections_per_address)"
        return None

    def refuse(self) -> bool:
        """Count a connection that is not let in; tell whether it is one to log: the 1st, 2nd, 4th, 8th, and so on.

        A stranger who dials and dials must not fill the log.
        """
        self.refused += 1
        return self.refused & (self.refused - 1) == 0

    def enter(self, group: str | None = None) -> None:
        """Count a connection that has come in."""
        self._in_all += 1
        self.join(group)

    def join(self, group: str | None) -> None:
        """Count the group of one that has come in, once that is known."""
        if group is not None:
            self._of_group[group] = self._of_group.get(group, 0) + 1

    def leave(self, group: str | None) -> None:
        """Count no more a connection that has ended."""
        self._in_all -= 1
        if group is not None:
            left = self._of_group.pop(group) - 1
            if left:
                self._of_group[group] = left
