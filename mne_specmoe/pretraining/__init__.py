"""From a corpus to pretrained weights, one module per model family."""
