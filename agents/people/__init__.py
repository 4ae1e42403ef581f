"""Who acts: people, teams, roles and the tokens of service accounts."""
