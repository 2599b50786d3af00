"""The cheapest precision of each node that holds an accuracy floor, and what quantising a node does."""
