"""Telling people and other systems: facts are noted with what made them true, and reach whoever needs them later.

`models` holds the nouns; `facts` notes, `telling` turns facts into notifications, `outbox` hands those to `channels`.
"""
