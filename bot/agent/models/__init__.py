"""Language models: requests to a model service, and a reader for its streamed answers."""
