"""The tool that asks a person: no act, so nothing is approved; somebody answers in words and the agent goes on.

It belongs to every installation. A release names it in `tools` like any other, and its model is offered it like any
other; whoever holds the question brings the answer as the tool's result.
"""

from typing import Annotated, Any

from pydantic import Field

from agents.tools.catalogue import tool
from agents.tools.context import ToolContext, ToolError

ASK_PERSON = "ask_person"
LONGEST, MOST_OPTIONS = 2000, 9

Question = Annotated[str, Field(min_length=1, max_length=LONGEST, pattern=r"\S")]
Options = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=MOST_OPTIONS)]


@tool(ASK_PERSON, tier=4, timeout=None, says=lambda question: question)
def ask_person(context: ToolContext, question: Question, options: Options | None = None) -> dict[str, Any]:
    """Ask a person of your team and wait for their answer. Only for what you cannot find out or may not decide.

    question: all that somebody needs to know to answer, in plain words
    options: answers to choose from, if there are only a few
    """
    if context.environment == "sandbox":
        return {"answer": options[0] if options else "", "simulated": True}
    raise ToolError("Only a person answers this.")
