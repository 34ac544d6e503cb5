"""A client of the gate: whether a message may be sent, to one recipient or to a whole list."""

from izin.schemas.may_send_api import ReceiptKind
from izin.subscribers.gate.client import BlockingGate, Gate
from izin.subscribers.gate.wire_format import GateAnswer, GateVerdict, Question

__all__ = ("BlockingGate", "Gate", "GateAnswer", "GateVerdict", "Question", "ReceiptKind")
