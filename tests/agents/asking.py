"""Asking models through the gateway, as tests of it do: a conversation, a chain, the reply or the failure."""

from __future__ import annotations

from typing import Any

import pytest

from agents import errors
from agents.cancellation import Cancellation
from agents.contracts import ModelReply, ModelRequest
from agents.llm import gateway
from tests.model_server import ModelServer


def said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def link(server: ModelServer, model: str = "bean-1", **more: Any) -> dict[str, Any]:
    return {"provider": "roastery", "model": model, "base_url": server.url, **more}


def request(*chain: dict[str, Any], **changes: Any) -> ModelRequest:
    fields: dict[str, Any] = {
        "messages": [said("system", "You sell coffee."), said("user", "Where is order 7?")],
        "tools": [],
        "settings": {},
        "seed": 1,
        "idempotency_key": "run:3",
        "timeout": 10.0,
    }
    return ModelRequest(chain=chain, **{**fields, **changes})


def ask(*chain: dict[str, Any], **changes: Any) -> ModelReply:
    return gateway.ask(request(*chain, **changes), Cancellation())


def failure(*chain: dict[str, Any], **changes: Any) -> errors.OutsideError:
    with pytest.raises(errors.OutsideError) as caught:
        ask(*chain, **changes)
    return caught.value
