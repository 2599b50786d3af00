"""FP16 and BF16: what can be lowered, the Casts that do it, and a run that shows where it goes wrong."""
