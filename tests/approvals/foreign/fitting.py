"""Run a program of another framework in a process of its own: `python -P fitting.py PROGRAM TICKET...`.

The locked langgraph-checkpoint hands langchain-core a keyword (`allowed_objects`, what stored checkpoints may hold)
that the locked langchain-core does not know, so that `import langgraph.graph` fails. Nothing here stores a checkpoint:
the keyword is left out, for as long as the two do not fit.
"""

import runpy
import sys
from importlib import import_module
from inspect import signature
from typing import Any


def let_them_fit() -> None:
    """Leave the keyword out where it is not known."""
    reviver = import_module("langchain_core.load.load").Reviver
    if "allowed_objects" in signature(reviver).parameters:
        return
    plain = reviver.__init__

    def without(self: Any, *given: Any, allowed_objects: object = None, **named: Any) -> None:
        plain(self, *given, **named)

    reviver.__init__ = without


if __name__ == "__main__":
    program = sys.argv[1]
    if "langgraph" in program:
        let_them_fit()
    sys.argv = sys.argv[1:]
    runpy.run_path(program, run_name="__main__")
