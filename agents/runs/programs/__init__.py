"""Programs: pure functions of history that say what a run does next. A bundle names one; a company may bring its
own."""

from functools import cache

from django.utils.module_loading import import_string

from agents.contracts import Program

BUILT_IN = {
    "llm": "agents.runs.programs.llm.ToolLoop",
    "pipeline": "agents.runs.programs.pipeline.Pipeline",
    "outside": "agents.runs.programs.outside.Elsewhere",
    "recorded": "agents.runs.programs.recorded.RecordedRun",
}


@cache
def load(name: str) -> Program:
    """The program of that name: a built-in, or `dotted.path:Class` on the worker's path."""
    path = BUILT_IN.get(name, name.replace(":", "."))
    found: Program = import_string(path)()
    return found
