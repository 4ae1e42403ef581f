"""Ask the cockpit before a tool acts. Copy this file; put @gated("your-agent") over the function."""

import functools
import inspect
import json
import os
import urllib.request


def _call(path="", body=None):
    address, headers = os.environ["COCKPIT"] + "/gate" + path, {"Content-Type": "application/json"}
    headers["Authorization"] = "Bearer " + os.environ["COCKPIT_TOKEN"]
    request = urllib.request.Request(address, body and json.dumps(body).encode(), headers)  # noqa: S310  # yours
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # no answer, no act: this raises
        return json.load(answer)


def gated(agent, context=dict):
    """Let the function run only as the cockpit allows; `context()` says more: session, objective, confidence."""

    def around(function):
        @functools.wraps(function)
        def ask(*given, **named):
            call = {"agent": agent, "tool": function.__name__, "context": context()}
            call["arguments"] = dict(inspect.signature(function).bind(*given, **named).arguments)
            ruling = _call(body=call)
            while ruling["verdict"] == "hold":
                call["approval"] = ruling["approval"]["id"]
                ruling = _call("/" + call["approval"] + "?wait=30")  # answered the moment somebody decides
                if ruling["verdict"] == "allow":  # the check right before acting, with what a person made of it
                    call["arguments"] = ruling["arguments"] or call["arguments"]
                    ruling = _call(body=call)
            left = ruling["outcome"] or f"Not done: {ruling['reason']}"
            return function(**call["arguments"]) if ruling["verdict"] == "allow" else left

        return ask

    return around
