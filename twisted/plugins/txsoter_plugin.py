"""Makes ``twistd soter`` and ``twist soter``."""

from twisted.application.service import ServiceMaker

soter = ServiceMaker("soter", "txsoter.tap", "A peer of the soter network.", "soter")
