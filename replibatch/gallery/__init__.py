"""The gallery: a batch's results as one page that opens from the disk."""
