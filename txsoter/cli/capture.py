"""``txsoter capture``: show and replay recorded conversations, or read them from a pcap file."""

from txsoter.capture.commands import add_arguments

__all__ = ["add_arguments"]
