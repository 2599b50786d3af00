"""What can still be gained in weights and biases once thresholds are set; each only where judging rows gain."""
