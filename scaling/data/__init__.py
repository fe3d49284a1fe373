"""What students read and are measured on: worlds, corpora, tokenizers, shards, streams, evaluation sets."""
