"""Storage: where outputs and reference images are kept, in a folder or a bucket, whole or not at all."""
