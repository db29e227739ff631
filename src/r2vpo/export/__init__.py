"""A run's model as others use it: a folder for transformers, a GGUF file, a repository on the hub."""
