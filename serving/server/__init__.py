"""A local server that speaks TensorFlow Serving's API: a stand-in for development and tests."""
