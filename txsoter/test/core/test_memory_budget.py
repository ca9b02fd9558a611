"""The memory that all connections of a config may hold together."""

from __future__ import annotations

from unittest import TestCase

from txsoter.core.memory_budget import MemoryBudget


class FakeHolder:
    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def over_budget(self, held: int, total: int) -> None:
        self.told.append((held, total))


class MemoryBudgetTests(TestCase):
    def test_the_one_that_holds_most_goes_whoever_was_last(self) -> None:
        budget = MemoryBudget(100)
        large, small, last = FakeHolder(), FakeHolder(), FakeHolder()
        for holder, held in ((large, 60), (small, 20), (last, 20)):
            budget.account(holder, held)
        self.assertEqual((large.told, budget.total), ([], 100))
        budget.account(last, 30)
        self.assertEqual((large.told, small.told, last.told, budget.total), ([(60, 110)], [], [], 50))

    def test_what_is_released_is_forgotten(self) -> None:
        budget = MemoryBudget(100)
        holder = FakeHolder()
        budget.account(holder, 90)
        budget.account(holder, 0)
        self.assertEqual((budget.total, len(budget), holder.told), (0, 0, []))

    def test_the_last_that_a_holder_says_counts(self) -> None:
        budget = MemoryBudget(100)
        holder = FakeHolder()
        for held in (90, 40, 70):
            budget.account(holder, held)
            self.assertEqual((budget.total, len(budget), holder.told), (held, 1, []))

    def test_as_many_go_as_it_takes(self) -> None:
        budget = MemoryBudget(100)
        holders = [FakeHolder() for _ in range(10)]
        for holder in holders:
            budget.account(holder, 10)
        huge = FakeHolder()
        budget.limit = 35
        budget.account(huge, 5)
        self.assertEqual((sum(len(holder.told) for holder in holders), budget.total), (7, 35))

    def test_none_is_no_limit(self) -> None:
        budget = MemoryBudget(None)
        holder = FakeHolder()
        budget.account(holder, 1 << 50)
        self.assertEqual((holder.told, budget.total), ([], 1 << 50))

    def test_a_holder_that_is_told_may_account_for_itself_meanwhile(self) -> None:
        """As one does whose closing releases, or still holds, something."""
        budget = MemoryBudget(100)

        class Reporting(FakeHolder):
            def over_budget(self, held: int, total: int) -> None:
                super().over_budget(held, total)
                budget.account(self, 10)

        first, second = Reporting(), Reporting()
        budget.account(first, 80)
        budget.account(second, 90)
        self.assertEqual((first.told, second.told), ([], [(90, 170)]))
        self.assertEqual((budget.total, len(budget)), (90, 2))
