"""A map to look at: a network made by chance, on the page of the map.

``python -m txsoter.test.crawl.map_scene`` serves it until it is interrupted; with ``--screenshot FILE`` it takes the
picture that stands in the README.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from txsoter.crawl.map_service import MapService
from txsoter.crawl.map_shares import GrowthSample
from txsoter.crawl.network_map import NetworkMap
from txsoter.test.crawl.maps import chance_map

__all__ = ["MapScene"]


class MapScene:
    """A page of the map, whose map is changed by hand.

    :param shown: the map at first.
    :param growth: whether it has a past.
    :ivar map: what is shown from the next look on.
    :ivar service: the page.
    """

    def __init__(self, reactor: Any, shown: NetworkMap, *, growth: bool = False, port: int = 0) -> None:
        self.map = shown
        endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
        self.service = MapService(lambda: self.map, endpoint, history=self._history, reactor=reactor)
        if growth:
            self._grow()

    def _history(self, host: str, port: int) -> list[list[float]]:
        random = Random(host)
        bad = random.randrange(160)
        return [
            [self.map.when - 3600 * (168 - hour), 12, 12 if not bad <= hour < bad + 5 else 2] for hour in range(168)
        ]

    def _grow(self) -> None:
        last = GrowthSample.of(self.map)
        for day in range(90):
            part = 0.55 + 0.45 * (day / 90) ** 0.7
            new = max(0.0, (day - 50) / 40)
            assert last.shares is not None
            versions = {name: int(count * part) for name, count in last.shares.versions.items()}
            names = list(versions)
            if len(names) > 1:
                shift = int(versions[names[0]] * 0.6 * (1 - new))
                versions[names[0]] -= shift
                versions[names[1]] += shift
            self.service.feed.growth.add(
                attrs.evolve(
                    last,
                    when=last.when - (90 - day) * 86400,
                    reachable=int(last.reachable * part),
                    edges=int(last.edges * part),
                    shares=attrs.evolve(last.shares, versions=versions),
                )
            )

    @property
    def url(self) -> str:
        """URL of the page."""
        assert self.service.url is not None
        return self.service.url

    def start(self) -> None:
        """Serve it."""
        self.service.startService()

    def stop(self) -> Deferred[None]:
        """End it."""
        return self.service.stopService()


def picture(url: str, path: Path) -> None:
    """Take the picture for the README: a wide window, light."""
    from txsoter.test.service.browser import Browser

    browser = Browser()
    try:
        browser.open(url, 1280, 1050)
        browser.wait("return document.body.dataset.link === 'live' && document.querySelector('#hint').hidden")
        browser.run("soterMap.choose(document.querySelectorAll('#nodes-rows button.name')[2].textContent, false)")
        browser.wait("return document.querySelectorAll('#panel-edges li').length > 3")
        browser.wait("return !soterMap.picture.state().busy")
        browser.shoot(path)
    finally:
        browser.quit()


async def main(reactor: Any, options: argparse.Namespace) -> None:
    """Serve the scene, and take a picture if one is wanted."""
    scene = MapScene(
        reactor, chance_map(options.nodes, options.edges, when=time.time()), growth=True, port=options.port
    )
    scene.start()
    print(scene.url)
    if options.screenshot is None:
        await Deferred()
    await deferToThread(picture, scene.url, options.screenshot)
    await scene.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--screenshot", type=Path)
    parser.add_argument("--nodes", type=int, default=300)
    parser.add_argument("--edges", type=int, default=1000)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    react(lambda reactor: ensureDeferred(main(reactor, given)))
