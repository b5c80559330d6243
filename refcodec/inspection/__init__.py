"""What streams and models hold, shown: descriptions, traces, bins, comparisons, alternatives (informative)."""
