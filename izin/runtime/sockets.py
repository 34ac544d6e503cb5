"""How a connection of a client ends whose request is given up.

It is small, and its own: İYS and subscribers are called by clients of two libraries.
"""

import socket
import struct
from typing import Final

RESET: Final = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
"""The option of a socket that is reset when it is closed, also by the end of its process: what is
not sent yet is dropped. The system would go on sending it for minutes where a network is silent,
and the other side act on it when we count it as lost.
"""
