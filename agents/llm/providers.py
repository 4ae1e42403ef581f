"""Real models: any server that speaks the OpenAI chat protocol, and Anthropic's; one request per call.

Clients are kept per model, address and key for as long as the process lives, and touched only on its one event loop; a
forked child starts with none. The SDK's own retries are off: they would spend money that nobody sees.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from ssl import SSLContext
from typing import Any, cast

from httpx2 import Limits, create_ssl_context
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout
from pydantic_ai import direct
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.settings import ModelSettings

from agents import errors
from agents.contracts import Json, ModelRequest, Usage
from agents.llm import failures, messages
from agents.llm.answers import Said

ANTHROPIC = "anthropic"
HOMES = {"openai": "https://api.openai.com/v1", ANTHROPIC: "https://api.anthropic.com"}
"""Where providers answer whose links need no `base_url`, and at which their usual key is wanted."""

KEYS = {"openai": "OPENAI_API_KEY", ANTHROPIC: "ANTHROPIC_API_KEY"}

NO_KEY = "no-key"
"""What a server that wants no key is sent: the client insists on one."""

CONNECTING = 10.0
"""Seconds to open a connection; the whole call is limited by the gateway's clock."""

LIMITS = Limits(max_connections=1000, max_keepalive_connections=1000)
"""Per client. Fewer kept alive than in use means a new connection for every call beyond them."""

CALLS_EACH, CLIENTS = 8, 128
"""Calls in flight before another client is made, and the most there are per model. A client looks at each of its
connections whenever one is asked for or given back, idle ones too: with five hundred calls in flight, one client takes
8 ms of processor time a call, sixteen take 4, sixty take 3."""

SETTINGS = frozenset(
    {
        "temperature", "top_p", "max_tokens", "stop_sequences", "seed", "presence_penalty", "frequency_penalty",
        "parallel_tool_calls", "tool_choice", "thinking",
    }
)  # fmt: skip
OURS = frozenset({"attempts", "simulated"})

_models: dict[tuple[str, str, str, str], "ChatModel"] = {}
_inherited: list[object] = []


def connected(link: Json) -> "ChatModel":
    """The model that a link of a chain names. What is missing is said in one sentence, before anything is sent."""
    provider, model = str(link["provider"]), str(link["model"])
    base_url = str(link.get("base_url") or HOMES.get(provider, ""))
    if not base_url.startswith(("http://", "https://")):
        raise _misconfigured(f"The model {provider}/{model} needs a base_url such as https://models.example.com/v1.")
    names = provider, model, base_url, _key(link, f"{provider}/{model}", base_url)
    found = _models.get(names)
    if found is None:
        found = _models[names] = ChatModel(*names)
    return found


class ChatModel:
    """One model of one provider, behind as many clients as its calls in flight need."""

    def __init__(self, provider: str, model: str, base_url: str, key: str) -> None:
        self.provider, self.model = provider, model
        self._make = partial(_library_model, provider, model, base_url, key)
        self._clients = [_Client(self._make())]

    async def answer(self, request: ModelRequest, *, attempt: int) -> Said:
        """One request, one answer. The same `Idempotency-Key` goes with every try at the same question."""
        names = messages.Names(tool["name"] for tool in request.tools)
        parameters = ModelRequestParameters(
            function_tools=messages.definitions(request.tools, names), allow_text_output=True
        )
        client = self._roomiest()
        client.in_flight += 1
        try:
            response = await direct.model_request(
                client.model,
                messages.outgoing(request.messages, names),
                model_settings=_settings(request),
                model_request_parameters=parameters,
                instrument=False,
            )
        except UserError as error:
            raise _misconfigured(f"{self.model} cannot be asked this way: {error}") from error
        except AgentRunError as error:
            raise failures.understood(error, self.model) from error
        finally:
            client.in_flight -= 1
        return Said(messages.incoming(response, names), response.model_name or self.model, _usage(response))

    def _roomiest(self) -> "_Client":
        """The first with room, so that those made for a rush fall idle after it."""
        for client in self._clients:
            if client.in_flight < CALLS_EACH:
                return client
        if len(self._clients) == CLIENTS:
            return min(self._clients, key=lambda client: client.in_flight)
        self._clients.append(_Client(self._make()))
        return self._clients[-1]


@dataclass(slots=True)
class _Client:
    """Connections of their own, and how many calls use them."""

    model: Model
    in_flight: int = 0


def _library_model(provider: str, model: str, base_url: str, key: str) -> Model:
    if provider == ANTHROPIC:
        return _anthropic_model(model, base_url, key)
    client = _client(base_url, key)
    if base_url.startswith(HOMES["openai"]):
        return OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client))
    # Servers that copy the protocol know the older of the two names for the longest answer, not all know the newer.
    profile = OpenAIModelProfile(openai_chat_supports_max_completion_tokens=False)
    return OpenAIChatModel(model, provider=OpenAICompatibleProvider(provider, openai_client=client, profile=profile))


def _anthropic_model(model: str, base_url: str, key: str) -> Model:
    """Loaded on first use: 34 MB of memory that most workers never need, and a library that may not be there."""
    try:
        import anthropic
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider
    except ImportError as error:
        sentence = f"The model {ANTHROPIC}/{model} needs the extra `anthropic`: install `pydantic-ai-slim[anthropic]`."
        raise _misconfigured(sentence) from error
    timeout = Timeout(None, connect=CONNECTING)
    http = anthropic.DefaultAsyncHttpxClient(base_url=base_url, timeout=timeout, limits=LIMITS)
    client = anthropic.AsyncAnthropic(base_url=base_url, api_key=key, max_retries=0, timeout=timeout, http_client=http)
    return AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client))


def _client(base_url: str, key: str) -> AsyncOpenAI:
    timeout = Timeout(None, connect=CONNECTING)
    http = DefaultAsyncHttpxClient(base_url=base_url, timeout=timeout, limits=LIMITS, verify=_authorities())
    return AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=timeout, http_client=http)


@cache
def _authorities() -> SSLContext:
    """Whom a client trusts, read once: it takes 20 ms, more than all else about making one."""
    return create_ssl_context()


def _key(link: Json, name: str, base_url: str) -> str:
    """The key, out of the worker's environment or the file that `<key_env>_FILE` names; never out of a release."""
    usual = next((KEYS[provider] for provider, home in HOMES.items() if base_url.startswith(home)), "")
    variable = link.get("key_env") or usual
    if not variable:
        return NO_KEY
    if path := os.environ.get(f"{variable}_FILE"):
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise _misconfigured(f"{variable}_FILE names {path}, which cannot be read: {error.strerror}.") from error
    if key := os.environ.get(variable, "").strip():
        return key
    raise _misconfigured(f"The model {name} needs a key: set {variable} in the environment of the workers.")


def _settings(request: ModelRequest) -> ModelSettings:
    given: Mapping[str, Any] = request.settings
    if unknown := sorted(set(given) - SETTINGS - OURS):
        known = ", ".join(sorted(SETTINGS))
        raise _misconfigured(f"The setting {unknown[0]!r} means nothing to a model; it takes {known}.")
    settings = {key: given[key] for key in SETTINGS & set(given)}
    return cast(ModelSettings, {**settings, "extra_headers": {"Idempotency-Key": request.idempotency_key}})


def _usage(response: ModelResponse) -> Usage:
    """The tokens a provider counted; None where it told nothing. The library cannot tell a cache count of 0 from
    none, and neither changes what a call costs."""
    told = response.usage
    if told.unmeasured_requests:
        return Usage()
    return Usage(
        input=told.input_tokens,
        output=told.output_tokens,
        cache_read=told.cache_read_tokens or None,
        cache_write=told.cache_write_tokens or None,
    )


def _misconfigured(sentence: str) -> errors.OutsideError:
    return errors.OutsideError(sentence, kind="configuration", permanent=True)


def _forget() -> None:
    """Connections belong to the process that opened them. The child uses none of them and closes none either: a client
    that is thrown away says goodbye on connections that the parent is still using."""
    _inherited.append(dict(_models))
    _models.clear()


os.register_at_fork(after_in_child=_forget)
