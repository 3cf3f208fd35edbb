"""What would grow too large: each computed on paper, and simulated on this machine."""
