"""The app that answers *may they?*: which acts wait for a person, the questions, the decisions and their proof."""
