"""What a ball leaves open of a network: its undecided neurons and their weights."""
