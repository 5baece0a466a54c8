"""A small MP4 (placeholder until written)."""
