"""Packaging. What tools are told stands in pyproject.toml."""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup

# compiled by mypyc where TXSOTER_MYPYC=1 asks for it; on the list is what makes something that a user does 1.2 times
# as fast or more: `python -m benchmarks compiled`
COMPILED = [
    "txsoter/chain/bit_sets.py",
    "txsoter/chain/block_graph.py",
    "txsoter/chain/colouring.py",
    "txsoter/chain/dag_order.py",
    "txsoter/chain/golomb_coding.py",
    "txsoter/wire/codec.py",
    "txsoter/wire/cuckoo.py",
    "txsoter/wire/txcodec.py",
]


def extensions() -> list[Extension]:
    """Return the compiled modules of a wheel; none of a source distribution or an editable install."""
    if os.environ.get("TXSOTER_MYPYC") != "1" or "bdist_wheel" not in sys.argv:
        return []
    from mypyc.build import mypycify

    # modules of an earlier list would get into the wheel
    shutil.rmtree("build", ignore_errors=True)
    # not with the project's own settings: their plugin is not there
    options = ["--config-file=", "--strict", "--follow-imports=silent", "--ignore-missing-imports"]
    found: list[Extension] = mypycify([*options, *COMPILED], opt_level="3", debug_level="0", group_name="txsoter")
    return found


# older ones call what Twisted has deprecated
TOR = ["txtorcon>=26.6"]
EXAMPLES = ["tqdm>=4.66"]
TABLES = ["rich>=14.3"]
TESTING = ["hypothesis>=6.100"]
METRICS = ["prometheus-client>=0.21"]
# BSD, without dependencies; reads packets and pcap files
PCAP = ["dpkt>=1.9.8"]
BROWSER = ["selenium>=4.20"]
# SipHash-2-4 and murmur3, of filters
CHAIN = ["siphash24>=1.7", "mmh3>=5.0"]
# graphs and their layout, Apache-2.0; MaxMind's file format, Apache-2.0; both with wheels
CRAWL = ["rustworkx>=0.16", "maxminddb>=2.6"]
RUNNING_TESTS = ["pytest>=8", "pytest-twisted>=1.14.3", "pytest-xdist>=3.6", "coverage>=7.10"]
# reads the docstrings, which are reStructuredText; its search and its theme work from files, in light and dark
DOCS = ["sphinx>=8.1", "furo>=2025.7", "myst-parser>=4.0"]
# a test runs the type checker over a program of a user
TYPING = ["mypy>=1.15"]
TEST = [*RUNNING_TESTS, *TESTING, *METRICS, *PCAP, *TOR, *EXAMPLES, *TABLES, *CHAIN, *CRAWL, *TYPING]

setup(
    name="txsoter",
    version="0.1.0",
    description="A peer of the soter network for Twisted: all 31 messages, handshake, queues and keep-alives",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="ISC",
    python_requires=">=3.10",
    ext_modules=extensions(),
    # find_packages() does not see twisted.plugins: it must not have an __init__.py
    packages=[*find_packages(include=["txsoter", "txsoter.*"]), "twisted.plugins"],
    # without it an editable install does not put twisted/plugins on the path
    package_dir={"": "."},
    package_data={
        "txsoter": ["py.typed"],
        "txsoter.test": ["data/*"],
        "txsoter.service.status": ["*.html", "*.css", "*.js"],
        "txsoter.crawl": ["*.html", "*.css", "*.js"],
    },
    install_requires=[
        "twisted>=24.11",
        "attrs>=22.2",
        "typing_extensions>=4.2",
        "semver>=3.1",
        "zope.interface>=5.0",
        # tomllib of Python 3.11
        "tomli>=2.0; python_version < '3.11'",
    ],
    extras_require={
        "tor": TOR,
        "examples": EXAMPLES,
        # txsoter.testing.strategies
        "testing": TESTING,
        "metrics": METRICS,
        # all that twistd soter may want
        "operate": [*METRICS, *PCAP, *CRAWL],
        "pcap": PCAP,
        # bloom and Golomb filters of txsoter.chain
        "chain": CHAIN,
        # analyses, layout and places of txsoter.crawl
        "crawl": CRAWL,
        "docs": [*DOCS, *TESTING, *METRICS, *CHAIN, *CRAWL, "pytest>=8"],
        "test": TEST,
        "browser": [*TEST, *BROWSER],
        # there are wheels for Linux alone, and building it takes a clang
        "fuzz": [*TESTING, *CHAIN, "atheris>=2.3; sys_platform == 'linux'"],
        "bench": [*TABLES, *METRICS, *CHAIN, "python-bitcoinlib", "bitcoinx", "btclib", "chiabip158"],
        "dev": [*TEST, *BROWSER, *DOCS, "tomli>=2.0", "ruff>=0.9", "mypy-zope>=1.0.9", "build>=1.2"],
    },
    entry_points={"console_scripts": ["txsoter = txsoter.cli.main:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Framework :: Twisted",
        "Intended Audience :: Developers",
        "Programming Language :: Python :: 3",
        "Typing :: Typed",
    ],
)
