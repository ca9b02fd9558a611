"""What the tests of metrics share: metrics read back by prometheus-client's own parser."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from txsoter import Listeners, PeerConfig
from txsoter.service import observed
from txsoter.service.metrics import Metrics
from txsoter.test.peer.cases import config

__all__ = ["Scrape", "metered", "scrape"]

Labels = frozenset[tuple[str, str]]


class Scrape:
    """Samples by name and labels.

    :param text: as Prometheus gets it.
    """

    def __init__(self, text: str) -> None:
        self.kinds: dict[str, str] = {}
        self.samples: dict[tuple[str, Labels], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, f"{key} comes twice"
                self.samples[key] = sample.value
                self.kinds[sample.name] = family.type

    def __getitem__(self, name: str) -> dict[Labels, float]:
        """All samples of one name, by labels."""
        return {labels: value for (found, labels), value in self.samples.items() if found == name}

    def value(self, name: str, **labels: str) -> float:
        """One sample's."""
        return self.samples[name, frozenset(labels.items())]

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Those that are not 0 and have ``labels``, by another label."""
        found = {}
        for key, value in self[name].items():
            given = dict(key)
            if value and labels.items() <= given.items():
                found[given[label]] = value
        return found

    def counts(self) -> Mapping[tuple[str, Labels], float]:
        """What may only grow."""
        return {key: value for key, value in self.samples.items() if self.kinds[key[0]] in ("counter", "histogram")}


def scrape(metrics: Metrics) -> Scrape:
    """What Prometheus would get."""
    registry = CollectorRegistry()
    registry.register(metrics)
    return Scrape(generate_latest(registry).decode())


def metered(metrics: Metrics, listeners: Listeners | None = None, **fields: object) -> PeerConfig:
    """A config of peers that have metrics."""
    return config(listeners=observed(metrics.timed(listeners or Listeners()), [metrics]), **fields)
