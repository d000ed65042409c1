"""Commands and events of the todo services."""

from .messages import Envelope
from .registry import CLASSES

__all__ = ["CLASSES", "Envelope"]
