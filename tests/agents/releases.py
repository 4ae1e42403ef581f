"""A release to publish: the file, the bundle it makes, and the versions after it."""

import copy
from typing import Any

TOML = """
version = "1.0"
program = "llm"
tools = ["test.echo", "test.refund"]

[agent]
slug = "refunds"
team = "service"
owner = "gwen"
purpose = "Gives money back where that is right."
use_case = "refunds"

[prompts]
system = "You work for a small coffee company."

[[models]]
provider = "openai"
model = "large-one"
base_url = "https://models.example.com/v1"
key_env = "MODELS_KEY"

[[models]]
provider = "simulated"
model = "sim-small"

[tiers]
"test.echo" = 2

[limits]
steps = 30
cost_usd = 0.5

[settings]
temperature = 0
max_tokens = 800
"""


def next_version(bundle: dict[str, Any], version: str = "1.1", **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(bundle), "version": version, **changes}
