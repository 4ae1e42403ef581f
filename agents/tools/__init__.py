"""What the author of a tool imports: `from agents.tools import ToolContext, ToolError, Touched, tool`."""

from agents.tools.catalogue import tool
from agents.tools.context import ToolContext, ToolError, Touched

__all__ = ["ToolContext", "ToolError", "Touched", "tool"]
