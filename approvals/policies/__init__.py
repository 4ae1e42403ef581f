"""May it? Policies outside the model: Cedar rules over what an agent is about to do, published as versions, tried
before they hold."""
