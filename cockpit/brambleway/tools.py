"""What Brambleway's agents can do."""
