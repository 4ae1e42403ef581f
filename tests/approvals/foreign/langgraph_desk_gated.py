"""A LangGraph program that pays back what it is asked to: a model, its tools, until the model calls none."""

import json
import os
import sys

from cockpit_gate import gated
from langchain_core.messages import AIMessage, convert_to_openai_messages
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from openai import OpenAI


@tool
@gated("triage")
def refund(order: str, amount: float) -> str:
    """Pay an order back."""
    print("PAID", order, amount, flush=True)
    return f"Paid {amount} back for order {order}."


client = OpenAI(base_url=os.environ["MODEL_URL"], api_key="none")


def model(state: MessagesState) -> dict:
    """Ask the model for its next message."""
    offered, said = [convert_to_openai_tool(refund)], convert_to_openai_messages(state["messages"])
    answer = client.chat.completions.create(model="any", messages=said, tools=offered).choices[0].message
    calls = [
        {"name": one.function.name, "args": json.loads(one.function.arguments), "id": one.id}
        for one in answer.tool_calls or ()
    ]
    return {"messages": [AIMessage(answer.content or "", tool_calls=calls)]}


graph = StateGraph(MessagesState)
graph.add_node("model", model)
graph.add_node("tools", ToolNode([refund]))
graph.add_edge(START, "model")
graph.add_conditional_edges("model", tools_condition)
graph.add_edge("tools", "model")
desk = graph.compile()

for ticket in sys.argv[1:]:
    print(desk.invoke({"messages": [("user", ticket)]})["messages"][-1].content, flush=True)
