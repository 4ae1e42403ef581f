"""A program of the OpenAI Agents SDK that pays back what it is asked to."""

import os
import sys

from cockpit_gate import gated
from openai import AsyncOpenAI

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled

set_tracing_disabled(True)


@function_tool
@gated("triage")
def refund(order: str, amount: float) -> str:
    """Pay an order back."""
    print("PAID", order, amount, flush=True)
    return f"Paid {amount} back for order {order}."


client = AsyncOpenAI(base_url=os.environ["MODEL_URL"], api_key="none")
model = OpenAIChatCompletionsModel(model="any", openai_client=client)
desk = Agent(name="desk", instructions="Pay back what arrived broken.", tools=[refund], model=model)

for ticket in sys.argv[1:]:
    print(Runner.run_sync(desk, ticket).final_output, flush=True)
