"""Who works here: agents and the releases they run, the tools that exist and who may use them; publishing."""
