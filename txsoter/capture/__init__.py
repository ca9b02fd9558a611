"""Recorded conversations: captured by peers of ours, shown, played again, or read out of a pcap file.

On the command line: ``python -m txsoter.capture --help``.
"""

from txsoter.capture.errors import CaptureError
from txsoter.capture.recorder import Capture, CaptureState
from txsoter.capture.records import Record, RecordFile

__all__ = ["Capture", "CaptureError", "CaptureState", "Record", "RecordFile"]
