"""What the fleet's work costs: prices, the ledger, reports. Knows the domain in `agents` and nothing of approvals."""
